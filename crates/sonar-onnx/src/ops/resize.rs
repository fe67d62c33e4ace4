//! Resizing: a linear function of each axis by itself, whose matrix is known at import.

use super::movement::extents;
use crate::build::known::{Known, MAX_COMPUTED};
use crate::build::{Builder, Value, axes, axis, elements};
use crate::error::Refusal;
use crate::import::call::Call;
use sonar_ir::BinaryOp;

type Results = Result<Vec<Value>, Refusal>;

/// How the elements of a result are taken from those of an operand.
struct Method {
    mode: Mode,
    coordinates: String,
    rounding: String,
    /// The parameter of the cubic.
    cubic: f64,
    /// Whether elements beyond the border have no weight; if they do, they are those of the border.
    exclude_outside: bool,
    /// Whether shrinking takes the mean of all elements that fall together.
    antialias: bool,
    /// What stands for elements that come from beyond a region of interest.
    extrapolation: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// One axis that is resized.
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
    /// Beginning and end of the region of interest, as shares of the axis.
    region: (f64, f64),
}

/// Where the elements of a result come from, for one element of the result.
struct Row {
    /// The index in the operand, which may be beyond it, of the first element with a weight.
    first: i64,
    /// Weights of elements from the first on; none if the element of the result is extrapolated.
    weights: Vec<f64>,
}

/// Since version 11. In version 10, arguments are those of `Upsample`.
pub fn resize(b: &mut Builder, call: &Call<'_>) -> Results {
    if call.opset < 11 {
        return upsample(b, call);
    }
    let method = Method {
        mode: mode(&call.text("mode", "nearest")?)?,
        coordinates: call.text("coordinate_transformation_mode", "half_pixel")?,
        rounding: call.text("nearest_mode", "round_prefer_floor")?,
        cubic: f64::from(call.float("cubic_coeff_a", -0.75)?),
        exclude_outside: call.flag("exclude_outside", false)?,
        antialias: call.flag("antialias", false)?,
        extrapolation: call.float("extrapolation_value", 0.0)?,
    };
    let x = call.input(0)?;
    let resized: Vec<usize> = if call.has("axes") {
        let given = call.ints("axes", &[])?;
        axes(&given, x.rank())?;
        given.iter().map(|&a| axis(a, x.rank())).collect::<Result<_, _>>()?
    } else {
        (0..x.rank()).collect()
    };
    let floats = |index: usize| -> Result<Option<Vec<f64>>, Refusal> {
        let Some(known) = call.known(index)? else { return Ok(None) };
        let list: Vec<f64> = known.as_floats()?.iter().map(|&v| f64::from(v)).collect();
        Ok((!list.is_empty()).then_some(list))
    };
    let sizes = call.known(3)?.map(Known::as_ints).transpose()?.filter(|sizes| !sizes.is_empty()).map(extents).transpose()?;
    let policy = call.text("keep_aspect_ratio_policy", "stretch")?;
    let from: Vec<usize> = resized.iter().map(|&axis| x.shape()[axis]).collect();
    let (scales, sizes) = match (floats(2)?, sizes) {
        (Some(scales), None) => (scales, None),
        (None, Some(sizes)) if sizes.len() == from.len() => scales_of(&from, sizes, &policy)?,
        (None, Some(sizes)) => return Err(Refusal::invalid(format!("{} sizes for {} axes", sizes.len(), from.len()))),
        _ => return Err(Refusal::invalid("expected either scales or sizes")),
    };
    let regions = match floats(1)? {
        Some(roi) if method.coordinates == "tf_crop_and_resize" => roi,
        _ => [vec![0.0; from.len()], vec![1.0; from.len()]].concat(),
    };
    if scales.len() != from.len() || regions.len() != 2 * from.len() {
        return Err(Refusal::invalid(format!("scales or regions for another number of axes than {}", from.len())));
    }
    let mut result = x.clone();
    let mut plan = Vec::new();
    for (i, &axis) in resized.iter().enumerate() {
        let to = match &sizes {
            Some(sizes) => sizes[i],
            None => scaled(from[i], scales[i])?,
        };
        plan.push((axis, Axis { from: from[i], to, scale: scales[i], region: (regions[i], regions[from.len() + i]) }));
    }
    for (axis, along) in &plan {
        result = b.resize(&result, *axis, along, &method)?;
    }
    Ok(vec![result])
}

/// Versions 7 to 10: scales only, and element `i` comes from `i / scale`.
pub fn upsample(b: &mut Builder, call: &Call<'_>) -> Results {
    let x = call.input(0)?;
    let method = Method {
        mode: mode(&call.text("mode", "nearest")?)?,
        coordinates: "asymmetric".to_string(),
        rounding: "floor".to_string(),
        cubic: -0.75,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    };
    let Some(scales) = call.known(1)? else { return Err(Refusal::invalid("argument 2 is missing")) };
    let scales = scales.as_floats()?.clone();
    if scales.len() != x.rank() {
        return Err(Refusal::invalid(format!("{} scales for a tensor of rank {}", scales.len(), x.rank())));
    }
    let mut result = x.clone();
    for (axis, &scale) in scales.iter().enumerate() {
        let (from, scale) = (x.shape()[axis], f64::from(scale));
        let along = Axis { from, to: scaled(from, scale)?, scale, region: (0.0, 1.0) };
        result = b.resize(&result, axis, &along, &method)?;
    }
    Ok(vec![result])
}

fn mode(name: &str) -> Result<Mode, Refusal> {
    match name {
        "nearest" => Ok(Mode::Nearest),
        "linear" => Ok(Mode::Linear),
        "cubic" => Ok(Mode::Cubic),
        other => Err(Refusal::unsupported(format!("the mode `{other}`"))),
    }
}

/// The extent that an axis is scaled to.
fn scaled(from: usize, scale: f64) -> Result<usize, Refusal> {
    let to = (from as f64 * scale).floor();
    if !(1.0..1e9).contains(&to) {
        return Err(Refusal::invalid(format!("an axis of extent {from} scaled by {scale}")));
    }
    Ok(to as usize)
}

/// Scales for these sizes, and the sizes that the policy makes of them.
fn scales_of(from: &[usize], sizes: Vec<usize>, policy: &str) -> Result<(Vec<f64>, Option<Vec<usize>>), Refusal> {
    if sizes.contains(&0) || from.contains(&0) {
        return Err(Refusal::invalid(format!("the sizes {sizes:?} from {from:?}")));
    }
    let scales: Vec<f64> = sizes.iter().zip(from).map(|(&to, &from)| to as f64 / from as f64).collect();
    let one = match policy {
        "stretch" => return Ok((scales, Some(sizes))),
        "not_larger" => scales.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.iter().copied().fold(0.0, f64::max),
        other => return Err(Refusal::invalid(format!("the policy `{other}`"))),
    };
    let sizes = from.iter().map(|&from| (from as f64 * one + 0.5).floor() as usize).collect();
    Ok((vec![one; from.len()], Some(sizes)))
}

impl Builder {
    /// The value with one axis resized.
    fn resize(&mut self, value: &Value, axis: usize, along: &Axis, method: &Method) -> Result<Value, Refusal> {
        // Where nothing is scaled every coordinate is its own, but that of a region of interest.
        if along.from == along.to && along.scale == 1.0 && along.region == (0.0, 1.0) {
            return Ok(value.clone());
        }
        if elements(&[along.from, along.to]).is_none_or(|count| count > MAX_COMPUTED) {
            return Err(Refusal::unsupported(format!("resizing an axis from {} to {}", along.from, along.to)));
        }
        let rows = (0..along.to).map(|i| row(i, along, method)).collect::<Result<Vec<_>, _>>()?;
        let last = along.from as i64 - 1;
        let single = |row: &Row| match &row.weights[..] {
            [weight] if *weight == 1.0 => Some(row.first.clamp(0, last) as usize),
            _ => None,
        };
        if let Some(rows) = rows.iter().map(single).collect::<Option<Vec<_>>>() {
            let factor = along.to / along.from;
            if factor > 1 && rows.iter().copied().eq((0..along.to).map(|i| i / factor)) {
                return self.repeat(value, axis, factor);
            }
            return self.rows(value, axis, &rows);
        }
        let mut matrix = vec![0.0; along.from * along.to];
        let mut outside = vec![0.0; along.to];
        for (column, row) in rows.iter().enumerate() {
            if row.weights.is_empty() {
                outside[column] = method.extrapolation;
            }
            for (at, weight) in (row.first..).zip(&row.weights) {
                matrix[at.clamp(0, last) as usize * along.to + column] += *weight as f32;
            }
        }
        let mut to_last: Vec<usize> = (0..value.rank()).filter(|&other| other != axis).collect();
        to_last.push(axis);
        let mut back: Vec<usize> = (0..value.rank() - 1).collect();
        back.insert(axis, value.rank() - 1);
        let moved = self.transpose(value, &to_last)?;
        let lead = moved.shape()[..value.rank() - 1].to_vec();
        let flat = self.reshape(&moved, &[lead.iter().product(), along.from])?;
        let product = self.matmul(&flat, &Value::Known(Known::floats(vec![along.from, along.to], matrix)))?;
        let result = match outside.iter().all(|&v| v == 0.0) {
            true => product,
            false => self.binary(BinaryOp::Add, &product, &Value::Known(Known::floats(vec![along.to], outside)))?,
        };
        let result = self.reshape(&result, &[&lead[..], &[along.to]].concat())?;
        self.transpose(&result, &back)
    }
}

/// From which elements of the operand element `i` of the result comes.
fn row(i: usize, along: &Axis, method: &Method) -> Result<Row, Refusal> {
    let x = coordinate(i as f64, along, method)?;
    if method.coordinates == "tf_crop_and_resize" && !(0.0..=along.from as f64 - 1.0).contains(&x) {
        return Ok(Row { first: 0, weights: vec![] });
    }
    if method.mode == Mode::Nearest {
        let nearest = match method.rounding.as_str() {
            "round_prefer_floor" => (x - 0.5).ceil(),
            "round_prefer_ceil" => (x + 0.5).floor(),
            "floor" => x.floor(),
            "ceil" => x.ceil(),
            other => return Err(Refusal::invalid(format!("the rounding `{other}`"))),
        };
        return Ok(Row { first: nearest as i64, weights: vec![1.0] });
    }
    // A kernel is stretched where shrinking takes the mean of what falls together.
    let stretch = if method.antialias { along.scale.min(1.0) } else { 1.0 };
    let (reach, kernel): (f64, &dyn Fn(f64) -> f64) = match method.mode {
        Mode::Linear => (1.0, &|t| (1.0 - t.abs()).max(0.0)),
        _ => (2.0, &|t| cubic(t.abs(), method.cubic)),
    };
    let reach = reach / stretch;
    let first = (x - reach).floor() as i64 + 1;
    let end = (x + reach).ceil() as i64;
    let inside = |at: i64| at >= 0 && at < along.from as i64;
    let mut weights: Vec<f64> = (first..end.max(first + 1)).map(|at| kernel((at as f64 - x) * stretch)).collect();
    if method.exclude_outside {
        let excluded = (first..).zip(&mut weights).filter(|(at, _)| !inside(*at));
        excluded.for_each(|(_, weight)| *weight = 0.0);
    }
    let total: f64 = weights.iter().sum();
    if method.exclude_outside || method.antialias {
        weights.iter_mut().for_each(|weight| *weight /= total);
    }
    Ok(Row { first, weights })
}

/// The cubic convolution kernel with parameter `a` (Keys, 1981), of a distance.
fn cubic(t: f64, a: f64) -> f64 {
    if t <= 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a
    } else {
        0.0
    }
}

/// Where in the operand element `i` of the result lies.
fn coordinate(i: f64, along: &Axis, method: &Method) -> Result<f64, Refusal> {
    let (from, to) = (along.from as f64, along.to as f64);
    let half_pixel = (i + 0.5) / along.scale - 0.5;
    // The extent of the result before it was rounded down.
    let exact = from * along.scale;
    Ok(match method.coordinates.as_str() {
        "half_pixel" => half_pixel,
        "pytorch_half_pixel" => {
            if to > 1.0 {
                half_pixel
            } else {
                0.0
            }
        }
        "half_pixel_symmetric" => from / 2.0 * (1.0 - to / exact) + half_pixel,
        "asymmetric" => i / along.scale,
        "align_corners" => {
            if to > 1.0 {
                i * (from - 1.0) / (exact - 1.0)
            } else {
                0.0
            }
        }
        "tf_crop_and_resize" => {
            let (start, end) = along.region;
            let within = if to > 1.0 { i * (end - start) / (to - 1.0) } else { (start + end) / 2.0 - start };
            (start + within) * (from - 1.0)
        }
        other => return Err(Refusal::unsupported(format!("coordinates `{other}`"))),
    })
}
