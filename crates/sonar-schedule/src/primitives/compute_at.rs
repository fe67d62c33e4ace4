//! Fills a temporary where it is used.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Affine, BufId, BufferKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::loops::visit;
use crate::primitives::{buffer_named, find};

/// Moves the nests that fill a temporary to the start of a loop of its consumer, and shrinks the temporary to the part that one
/// iteration reads.
///
/// ```text
/// for xp_y { xp[xp_y] = f(xp_y) }            for y.o {
/// for y.o { for y.i {                 -->      for xp_y in 0..r + k - 1 { xp[xp_y] = f(r·y.o + xp_y) }
///     … xp[r·y.o + y.i + ky] …                 for y.i { … xp[y.i + ky] … }
/// } }                                        }
/// ```
///
/// Rows that two iterations read are computed twice. Legal if the nests that fill the temporary are in the body and write
/// nothing else, every read is inside of the loop, and in every read the outer variables move the window by the same whole
/// number of rows (or images).
pub fn compute_at(program: &Program, buffer: &str, name: &str) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let temp = buffer_named(&program, buffer, BufferKind::Temp, "temporary")?;
    let at = find(&program, name)?;
    let refuse = |reason: &str| ScheduleError::Illegal { step: "compute_at", name: buffer.to_owned(), reason: reason.to_owned() };

    let (fills, rest): (Vec<Stmt>, Vec<Stmt>) = std::mem::take(&mut program.body).into_iter().partition(|s| writes_only(s, temp));
    if fills.is_empty() {
        return Err(refuse("nothing in the body fills it"));
    }
    let path = path_to(&rest, at).ok_or_else(|| refuse("its loop is not in the consumer"))?;
    let reads = reads_below(&rest, temp, at).ok_or_else(|| refuse("it is used outside of the loop"))?;
    let extents = visit::extents(&rest, program.vars.len());
    let dims = dimensions(&fills, temp, program.buffers[temp].len);
    let window = window(&reads, &dims, &path, &extents).ok_or_else(|| refuse("an iteration does not read a window of it"))?;

    let layout = Layout::new(&dims, &window);
    let mut fills = fills;
    for fill in &mut fills {
        move_fill(fill, temp, &dims, &window, &layout);
    }
    program.body = rest;
    visit::accesses_mut(&mut program.body, &mut |access| {
        if access.buffer == temp {
            access.index = layout.read(&access.index, &dims, &window, &path);
        }
    });
    visit::at_loop(&mut program.body, at, &mut |stmts, i| {
        if let Stmt::For { body, .. } = &mut stmts[i] {
            body.splice(0..0, fills.drain(..)).for_each(drop);
        }
    });
    program.buffers[temp].len = layout.len;
    Ok(program)
}

/// A leading dimension of the temporary: one loop of each nest that fills it, counted from outside.
struct Dimension {
    stride: i64,
    extent: usize,
}

/// The part of a dimension that one iteration reads.
struct Span {
    /// First position, as a function of the outer loops.
    start: Affine,
    /// Number of positions.
    extent: usize,
}

/// Strides of the shrunk temporary.
struct Layout {
    strides: Vec<i64>,
    len: usize,
}

fn writes_only(stmt: &Stmt, temp: BufId) -> bool {
    let (mut writes, mut only) = (false, true);
    visit::accesses(std::slice::from_ref(stmt), &mut |access, write| {
        if write {
            writes |= access.buffer == temp;
            only &= access.buffer == temp;
        } else {
            only &= access.buffer != temp;
        }
    });
    writes && only
}

/// The variables of the loops around `at` and of `at` itself, outermost first.
fn path_to(stmts: &[Stmt], at: Var) -> Option<Vec<Var>> {
    stmts.iter().find_map(|stmt| match stmt {
        Stmt::For { var, .. } if *var == at => Some(vec![at]),
        Stmt::For { var, body, .. } => path_to(body, at).map(|mut path| {
            path.insert(0, *var);
            path
        }),
        Stmt::If { body, .. } => path_to(body, at),
        _ => None,
    })
}

/// Every read of the temporary, if all are inside of the loop over `at`.
fn reads_below(stmts: &[Stmt], temp: BufId, at: Var) -> Option<Vec<Access>> {
    let collect = |stmts: &[Stmt]| {
        let mut reads = Vec::new();
        visit::accesses(stmts, &mut |access, _| {
            if access.buffer == temp {
                reads.push(access.clone());
            }
        });
        reads
    };
    let mut inside = Vec::new();
    let mut copy = stmts.to_vec();
    visit::at_loop(&mut copy, at, &mut |stmts, i| inside = collect(&stmts[i..=i]));
    (collect(stmts).len() == inside.len() && !inside.is_empty()).then_some(inside)
}

/// The leading dimensions that all nests share: dense, and outside of everything else.
fn dimensions(fills: &[Stmt], temp: BufId, len: usize) -> Vec<Dimension> {
    let mut dims: Vec<Dimension> = Vec::new();
    let mut heads: Vec<&Stmt> = fills.iter().collect();
    let mut size = len as i64;
    loop {
        let mut common: Option<(i64, usize)> = None;
        for head in &heads {
            let Stmt::For { var, extent, body, .. } = head else { return dims };
            let mut stride = None;
            let mut same = true;
            visit::accesses(body, &mut |access, write| {
                if write && access.buffer == temp {
                    let here = access.index.coefficient(*var);
                    same &= *stride.get_or_insert(here) == here;
                }
            });
            let found = (stride.unwrap_or(0), *extent);
            if !same || *common.get_or_insert(found) != found {
                return dims;
            }
        }
        let Some((stride, extent)) = common else { return dims };
        if stride <= 0 || stride * extent as i64 != size {
            return dims;
        }
        dims.push(Dimension { stride, extent });
        size = stride;
        let mut next = Vec::new();
        for head in heads {
            match head {
                Stmt::For { body, .. } if body.len() == 1 => next.push(&body[0]),
                _ => return dims,
            }
        }
        heads = next;
    }
}

/// The part of each dimension that one iteration of the last loop of `path` reads.
fn window(reads: &[Access], dims: &[Dimension], path: &[Var], extents: &EntityVec<Var, usize>) -> Option<Vec<Span>> {
    let mut starts: Vec<Option<Affine>> = vec![None; dims.len()];
    let mut bounds = vec![(i64::MAX, 0i64); dims.len()];
    for read in reads {
        let digits = digits(&read.index, dims)?;
        for (d, digit) in digits.iter().enumerate() {
            let outer = Affine { terms: digit.terms.iter().filter(|t| path.contains(&t.0)).copied().collect(), offset: 0 };
            let inner: i64 = digit.terms.iter().filter(|t| !path.contains(&t.0)).map(|&(v, c)| c * (extents[v] as i64 - 1)).sum();
            if *starts[d].get_or_insert_with(|| outer.clone()) != outer {
                return None;
            }
            bounds[d] = (bounds[d].0.min(digit.offset), bounds[d].1.max(digit.offset + inner));
        }
        // The digits are unique if each is within its dimension and the rest is smaller than the last stride.
        let last = dims.last().map_or(1, |dim| dim.stride);
        let small = read.index.terms.iter().filter(|t| t.1 < last);
        let below: i64 = small.map(|&(v, c)| c * (extents[v] as i64 - 1)).sum();
        if dims.is_empty() || below + read.index.offset.rem_euclid(last) >= last {
            return None;
        }
        for (digit, dim) in digits.iter().zip(dims) {
            let most: i64 = digit.terms.iter().map(|&(v, c)| c * (extents[v] as i64 - 1)).sum::<i64>() + digit.offset;
            if most >= dim.extent as i64 {
                return None;
            }
        }
    }
    let spans = starts.into_iter().zip(bounds).zip(dims).map(|((start, (low, high)), dim)| match start {
        Some(start) if !start.terms.is_empty() => Span { start: start.shift(low), extent: (high - low + 1) as usize },
        _ => Span { start: Affine::default(), extent: dim.extent },
    });
    Some(spans.collect())
}

/// An address as a position in each dimension, without the part that is smaller than the last stride. `None` if a term is
/// negative.
fn digits(index: &Affine, dims: &[Dimension]) -> Option<Vec<Affine>> {
    let mut digits = vec![Affine::default(); dims.len()];
    let mut offset = index.offset;
    for (d, dim) in dims.iter().enumerate() {
        digits[d].offset = offset.div_euclid(dim.stride);
        offset = offset.rem_euclid(dim.stride);
    }
    for &(var, coefficient) in &index.terms {
        if coefficient < 0 {
            return None;
        }
        if let Some(d) = dims.iter().position(|dim| coefficient >= dim.stride) {
            if coefficient % dims[d].stride != 0 {
                return None;
            }
            digits[d] = std::mem::take(&mut digits[d]).plus(var, coefficient / dims[d].stride);
        }
    }
    digits.iter().all(|digit| digit.offset >= 0).then_some(digits)
}

impl Layout {
    fn new(dims: &[Dimension], window: &[Span]) -> Self {
        let mut size = dims.last().map_or(1, |dim| dim.stride);
        let mut strides = vec![0; dims.len()];
        for d in (0..dims.len()).rev() {
            strides[d] = size;
            size *= window[d].extent as i64;
        }
        Layout { strides, len: size as usize }
    }

    /// The address of a read in the shrunk temporary.
    fn read(&self, index: &Affine, dims: &[Dimension], window: &[Span], path: &[Var]) -> Affine {
        let Some(digits) = digits(index, dims) else { return index.clone() };
        let mut result = index.clone();
        for (d, digit) in digits.iter().enumerate() {
            let local = if window[d].start.terms.is_empty() {
                digit.clone()
            } else {
                let inner =
                    Affine { terms: digit.terms.iter().filter(|t| !path.contains(&t.0)).copied().collect(), ..digit.clone() };
                inner.shift(-window[d].start.offset)
            };
            result = result.add(&digit.scale(-dims[d].stride)).add(&local.scale(self.strides[d]));
        }
        result
    }
}

/// Changes a nest to fill the window: its leading loops count from the start of the window.
fn move_fill(fill: &mut Stmt, temp: BufId, dims: &[Dimension], window: &[Span], layout: &Layout) {
    let mut here = fill;
    for (d, dim) in dims.iter().enumerate() {
        let Stmt::For { var, extent, body, .. } = here else { return };
        let local = *var;
        *extent = window[d].extent;
        let shifted = Affine::var(local, 1).add(&window[d].start);
        visit::bounds_mut(body, &mut |bound| bound.expr = bound.expr.substitute(local, &shifted));
        visit::accesses_mut(body, &mut |access| {
            access.index = if access.buffer == temp {
                std::mem::take(&mut access.index).plus(local, layout.strides[d] - dim.stride)
            } else {
                access.index.substitute(local, &shifted)
            };
        });
        if body.len() != 1 {
            return;
        }
        here = &mut body[0];
    }
}
