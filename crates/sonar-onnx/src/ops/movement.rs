//! What only moves elements.

use crate::build::{Builder, MAX_REPEATS, Value, axes, axis, elements};
use crate::error::Refusal;
use crate::import::call::Call;

type Results = Result<Vec<Value>, Refusal>;

/// Extents from integers.
pub fn extents(list: &[i64]) -> Result<Vec<usize>, Refusal> {
    let shape: Option<Vec<usize>> = list.iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let shape = shape.filter(|shape| elements(shape).is_some());
    shape.ok_or_else(|| Refusal::invalid(format!("the shape {list:?}")))
}

/// Integers of a required argument.
fn required(call: &Call<'_>, index: usize, attribute: &'static str) -> Result<Vec<i64>, Refusal> {
    call.ints_of(index, attribute)?.ok_or_else(|| Refusal::invalid(format!("argument {} is missing", index + 1)))
}

pub fn concat(b: &mut Builder, call: &Call<'_>) -> Results {
    let values = call.all()?;
    let axis = axis(call.int("axis", 1)?, values[0].rank())?;
    Ok(vec![b.concat(&values, axis)?])
}

/// Parts of the given sizes, or of equal size except the last one.
pub fn split(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let axis = axis(call.int("axis", 0)?, x.rank())?;
    let extent = x.shape()[axis];
    let count = usize::try_from(call.int("num_outputs", call.outputs() as i64)?).unwrap_or(0);
    let sizes = match call.ints_of(1, "split")? {
        Some(sizes) => extents(&sizes)?,
        None if count == 0 || count > extent => return Err(Refusal::invalid(format!("{count} parts of {extent}"))),
        None => {
            let size = extent.div_ceil(count);
            (0..count).map(|i| size.min(extent.saturating_sub(i * size))).collect()
        }
    };
    if sizes.iter().sum::<usize>() != extent || sizes.len() != call.outputs() {
        return Err(Refusal::invalid(format!("parts {sizes:?} of an axis of extent {extent} for {} results", call.outputs())));
    }
    let mut start = 0;
    let mut parts = Vec::new();
    for size in sizes {
        parts.push(b.slice(x, axis, start, 1, size)?);
        start += size;
    }
    Ok(parts)
}

/// Bounds are attributes before version 10 and arguments since.
pub fn slice(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let (starts, ends) = (required(call, 1, "starts")?, required(call, 2, "ends")?);
    let list = call.ints_of(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints_of(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || list.len() != starts.len() || steps.len() != starts.len() {
        return Err(Refusal::invalid("starts, ends, axes and steps differ in number"));
    }
    axes(&list, x.rank())?;
    let mut result = x.clone();
    for i in 0..starts.len() {
        let axis = axis(list[i], x.rank())?;
        let (start, step, count) = positions(x.shape()[axis], starts[i], ends[i], steps[i])?;
        result = b.slice(&result, axis, start, step, count)?;
    }
    Ok(vec![result])
}

/// First index, step and number of indices of a slice in the sense of NumPy.
fn positions(extent: usize, start: i64, end: i64, step: i64) -> Result<(usize, i64, usize), Refusal> {
    let n = extent as i64;
    let wrap = |index: i64| if index < 0 { index.saturating_add(n) } else { index };
    let (first, last) = match step {
        0 => return Err(Refusal::invalid("a slice of step 0")),
        1.. => (wrap(start).clamp(0, n), wrap(end).clamp(0, n)),
        _ => (wrap(start).clamp(-1, n - 1), wrap(end).clamp(-1, n - 1)),
    };
    let span = if step > 0 { last - first } else { first - last };
    let count = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) };
    Ok((if count == 0 { 0 } else { first as usize }, if count <= 1 { 1 } else { step }, count as usize))
}

/// In the target shape, 0 is the extent of the operand, and -1 is computed from the other extents.
pub fn reshape(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let wanted = required(call, 1, "shape")?;
    let zero_is_zero = call.flag("allowzero", false)?;
    let mut shape = Vec::new();
    let mut open = None;
    for (axis, &extent) in wanted.iter().enumerate() {
        shape.push(match extent {
            -1 if open.is_some() => return Err(Refusal::invalid(format!("the shape {wanted:?} leaves two extents open"))),
            -1 => {
                open = Some(axis);
                1
            }
            0 if !zero_is_zero => *x.shape().get(axis).ok_or_else(|| Refusal::invalid(format!("the shape {wanted:?}")))?,
            extent => extents(&[extent])?[0],
        });
    }
    if let Some(axis) = open {
        let (total, rest) = (elements(x.shape()), elements(&shape));
        shape[axis] = total.zip(rest).and_then(|(total, rest)| total.checked_div(rest)).unwrap_or(0);
    }
    Ok(vec![b.reshape(x, &shape)?])
}

pub fn flatten(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let at = call.int("axis", 1)?;
    let at = if at == x.rank() as i64 { x.rank() } else { axis(at, x.rank())? };
    let (rows, columns) = x.shape().split_at(at);
    Ok(vec![b.reshape(x, &[rows.iter().product(), columns.iter().product()])?])
}

pub fn squeeze(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let dropped = match call.ints_of(1, "axes")? {
        Some(list) => axes(&list, x.rank())?,
        None => (0..x.rank()).filter(|&axis| x.shape()[axis] == 1).collect(),
    };
    if dropped.iter().any(|&axis| x.shape()[axis] != 1) {
        return Err(Refusal::invalid(format!("axes {dropped:?} of the shape {:?} have not extent 1", x.shape())));
    }
    let shape: Vec<usize> = (0..x.rank()).filter(|axis| !dropped.contains(axis)).map(|axis| x.shape()[axis]).collect();
    Ok(vec![b.reshape(x, &shape)?])
}

pub fn unsqueeze(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let list = required(call, 1, "axes")?;
    let rank = x.rank() + list.len();
    let added = axes(&list, rank)?;
    let mut rest = x.shape().iter();
    let extent = |axis| if added.contains(&axis) { Some(1) } else { rest.next().copied() };
    let shape: Vec<usize> = (0..rank).filter_map(extent).collect();
    Ok(vec![b.reshape(x, &shape)?])
}

pub fn transpose(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let reversed: Vec<i64> = (0..x.rank() as i64).rev().collect();
    let given = call.ints("perm", &reversed)?;
    let permutation: Vec<usize> = given.iter().map(|&a| axis(a, x.rank())).collect::<Result<_, _>>()?;
    if axes(&given, x.rank())?.len() != x.rank() {
        return Err(Refusal::invalid(format!("{given:?} is no permutation of {} axes", x.rank())));
    }
    Ok(vec![b.transpose(x, &permutation)?])
}

pub fn expand(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let shape = crate::build::broadcast(x.shape(), &extents(&required(call, 1, "shape")?)?)?;
    Ok(vec![b.expand(x, &shape)?])
}

/// Repeats the whole operand along axes.
pub fn tile(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let repeats = extents(&required(call, 1, "repeats")?)?;
    if repeats.len() != x.rank() || repeats.contains(&0) {
        return Err(Refusal::invalid(format!("{repeats:?} repetitions of a tensor of rank {}", x.rank())));
    }
    // Before each axis a new axis of extent 1 is inserted; this one is repeated.
    let apart: Vec<usize> = x.shape().iter().flat_map(|&extent| [1, extent]).collect();
    let repeated: Vec<usize> = repeats.iter().zip(x.shape()).flat_map(|(&count, &extent)| [count, extent]).collect();
    let together: Vec<usize> = repeats.iter().zip(x.shape()).map(|(count, extent)| count.saturating_mul(*extent)).collect();
    if elements(&together).is_none() {
        return Err(Refusal::invalid(format!("{repeats:?} repetitions of the shape {:?}", x.shape())));
    }
    let apart = b.reshape(x, &apart)?;
    let repeated = b.expand(&apart, &repeated)?;
    Ok(vec![b.reshape(&repeated, &together)?])
}

/// Paddings are an attribute before version 11 and an argument since; a negative padding crops.
pub fn pad(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let given = required(call, 1, "pads")?;
    let list = match call.known(3)? {
        Some(list) => list.as_ints()?.to_vec(),
        None => (0..x.rank() as i64).collect(),
    };
    axes(&list, x.rank())?;
    if given.len() != 2 * list.len() {
        return Err(Refusal::invalid(format!("{} paddings for {} axes", given.len(), list.len())));
    }
    let with = match call.known(2)? {
        Some(known) => known.as_floats()?.first().copied().unwrap_or(0.0),
        None => call.float("value", 0.0)?,
    };
    let mode = call.text("mode", "constant")?;
    let mut pads = vec![(0usize, 0usize); x.rank()];
    let mut result = x.clone();
    for (i, &axis_given) in list.iter().enumerate() {
        let axis = axis(axis_given, x.rank())?;
        let (before, after) = (given[i], given[list.len() + i]);
        let cut = |pad: i64| usize::try_from(pad.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let extent = x.shape()[axis];
        let left = extent.checked_sub(cut(before).saturating_add(cut(after))).filter(|&left| left > 0);
        let left = left.ok_or_else(|| Refusal::unsupported(format!("paddings {given:?} that leave nothing")))?;
        result = b.slice(&result, axis, cut(before), 1, left)?;
        pads[axis] = (before.max(0) as usize, after.max(0) as usize);
    }
    if mode == "constant" {
        return Ok(vec![b.pad(&result, &pads, with)?]);
    }
    for (axis, &(before, after)) in pads.iter().enumerate() {
        let extent = result.shape()[axis] as i64;
        if before.saturating_add(after) > MAX_REPEATS {
            return Err(Refusal::unsupported(format!("paddings {pads:?} that repeat elements")));
        }
        let rows = (-(before as i64)..extent + after as i64).map(|index| mirrored(&mode, index, extent));
        let rows: Vec<usize> = rows.collect::<Result<_, _>>()?;
        result = b.rows(&result, axis, &rows)?;
    }
    Ok(vec![result])
}

/// The index of the element to copy for an index before or after the axis.
fn mirrored(mode: &str, index: i64, extent: i64) -> Result<usize, Refusal> {
    let source = match mode {
        "edge" => index.clamp(0, extent - 1),
        "wrap" => index.rem_euclid(extent),
        "reflect" if extent == 1 => 0,
        "reflect" => {
            let period = 2 * (extent - 1);
            let offset = index.rem_euclid(period);
            offset.min(period - offset)
        }
        other => return Err(Refusal::unsupported(format!("the padding mode `{other}`"))),
    };
    Ok(source as usize)
}

/// Indices must be known at import. Their axes replace the axis that they index.
pub fn gather(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let axis = axis(call.int("axis", 0)?, x.rank())?;
    let Some(indices) = call.known(1)? else { return Err(Refusal::invalid("argument 2 is missing")) };
    let extent = x.shape()[axis];
    let rows: Vec<usize> = indices
        .as_ints()?
        .iter()
        .map(|&index| crate::build::axis(index, extent))
        .collect::<Result<_, _>>()
        .map_err(|_| Refusal::invalid(format!("an index beyond axis {axis} of the shape {:?}", x.shape())))?;
    let shape = [&x.shape()[..axis], &indices.shape, &x.shape()[axis + 1..]].concat();
    let picked = match x {
        Value::Known(known) => Value::Known(known.rows(axis, &rows)?),
        Value::Run(_) => b.rows(x, axis, &rows)?,
    };
    Ok(vec![b.reshape(&picked, &shape)?])
}

/// The size of the blocks, and the operand's shape, which must be an image.
fn blocks(call: &Call<'_>) -> Result<(usize, [usize; 4]), Refusal> {
    let block = usize::try_from(call.int("blocksize", 0)?).ok().filter(|&n| n > 0 && n < 1 << 16);
    let block = block.ok_or_else(|| Refusal::invalid("the attribute `blocksize`"))?;
    match *call.input(0)?.shape() {
        [n, c, h, w] => Ok((block, [n, c, h, w])),
        _ => Err(Refusal::invalid("expected an image")),
    }
}

/// Channels become blocks of pixels.
pub fn depth_to_space(b: &mut Builder, call: &Call<'_>) -> Results {
    let (s, [n, c, h, w]) = blocks(call)?;
    let deep = c / (s * s);
    let (apart, order) = match call.text("mode", "DCR")?.as_str() {
        "DCR" => ([n, s, s, deep, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, deep, s, s, h, w], [0, 1, 4, 2, 5, 3]),
        other => return Err(Refusal::invalid(format!("the mode `{other}`"))),
    };
    let apart = b.reshape(call.input(0)?, &apart)?;
    let moved = b.transpose(&apart, &order)?;
    Ok(vec![b.reshape(&moved, &[n, deep, h * s, w * s])?])
}

/// Blocks of pixels become channels.
pub fn space_to_depth(b: &mut Builder, call: &Call<'_>) -> Results {
    let (s, [n, c, h, w]) = blocks(call)?;
    let apart = b.reshape(call.input(0)?, &[n, c, h / s, s, w / s, s])?;
    let moved = b.transpose(&apart, &[0, 3, 5, 1, 2, 4])?;
    Ok(vec![b.reshape(&moved, &[n, c * s * s, h / s, w / s])?])
}
