//! Stores a weight in the order in which it is read.

use sonar_ir::entity::{Entity, EntityVec};
use sonar_ir::loops::{Affine, BufId, Buffer, BufferKind, LoopKind, Program, Stmt, Var};

use crate::error::ScheduleError;
use crate::loops::build::{at, fresh_var, load};
use crate::loops::visit;
use crate::primitives::{buffer_named, gcd};

/// Reads a weight, as a matrix with rows of consecutive elements, through a copy. The copy holds panels of `width` columns one
/// after the other and is made in `setup`.
///
/// ```text
/// … w[k·C + f·c.o + c.i] …   -->   setup: w.p[panel·K·f + k·f + i] = w[k·C + panel·f + i]
///                                  body:  … w.p[c.o·K·f + k·f + c.i] …
/// ```
///
/// If `width` does not divide the columns, the last panel is narrower. Legal for inputs (which must be weights, given once) if
/// in every read the columns are addressed by a loop of stride 1 within a panel and a loop of stride `width` over panels.
pub fn pack(program: &Program, name: &str, width: usize) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    let weight = buffer_named(&program, name, BufferKind::Input, "weight")?;
    let len = program.buffers[weight].len;
    let refuse = |reason: &str| ScheduleError::Illegal { step: "pack", name: name.to_owned(), reason: reason.to_owned() };

    let row = row_length(&program, weight, width).ok_or_else(|| refuse("it is not read in panels of this width"))?;
    if width == 0 || row <= width || !len.is_multiple_of(row) {
        return Err(refuse("a row is not longer than a panel"));
    }
    if len == row {
        return Err(refuse("it has a single row, which panels leave as it is"));
    }
    let (rows, full) = (len / row, row / width);
    let extents = visit::extents(&program.body, program.vars.len());
    let packed = BufId::from_index(program.buffers.len());
    let mut body = program.body.clone();
    let mut legal = true;
    visit::accesses_mut(&mut body, &mut |access| {
        if access.buffer == weight {
            match panel_index(&access.index, row, width, rows, &extents) {
                Some(index) => *access = at(packed, index),
                None => legal = false,
            }
        }
    });
    if !legal {
        return Err(refuse("a read crosses panels"));
    }
    program.body = body;
    program.buffers.push(Buffer { name: format!("{name}.p"), len, kind: BufferKind::Packed });
    let parts = [(0, full, width), (full * width, usize::from(row % width > 0), row % width)];
    for (first, panels, wide) in parts {
        if panels == 0 {
            continue;
        }
        let loops = [("panel", panels), ("row", rows), ("column", wide)]
            .map(|(part, extent)| (fresh_var(&mut program, &format!("{name}.{part}")), extent));
        let [panel, k, i] = loops.map(|(var, _)| var);
        let source = Affine::var(k, row as i64).plus(panel, wide as i64).plus(i, 1).shift(first as i64);
        let target = Affine::var(panel, (rows * wide) as i64).plus(k, wide as i64).plus(i, 1).shift((first * rows) as i64);
        let store = Stmt::Store { target: at(packed, target), value: load(weight, source) };
        program.setup.extend(crate::loops::build::nest(&loops, vec![store]));
    }
    debug_assert!(program.setup.iter().all(|s| !matches!(s, Stmt::For { kind: LoopKind::Parallel, .. })));
    Ok(program)
}

/// The number of columns: the greatest common divisor of all coefficients except those within a row (1 and `width`).
fn row_length(program: &Program, weight: BufId, width: usize) -> Option<usize> {
    let len = program.buffers[weight].len;
    let mut row = len as i64;
    let mut read = false;
    visit::accesses(&program.body, &mut |access, _| {
        if access.buffer == weight {
            read = true;
            for &(_, coefficient) in &access.index.terms {
                if coefficient != 1 && coefficient != width as i64 {
                    row = gcd(row, coefficient.abs());
                }
            }
        }
    });
    read.then_some(row as usize)
}

/// The address in panels, if it stays within the selected panel.
fn panel_index(index: &Affine, row: usize, width: usize, rows: usize, extents: &EntityVec<Var, usize>) -> Option<Affine> {
    let (row, width) = (row as i64, width as i64);
    let (k0, column) = (index.offset.div_euclid(row), index.offset.rem_euclid(row));
    let (first_panel, within) = (column / width, column % width);
    let panels_end = first_panel + index.terms.iter().filter(|t| t.1 == width).map(|t| extents[t.0] as i64 - 1).sum::<i64>();
    let reach = within + index.terms.iter().filter(|t| t.1 == 1).map(|t| extents[t.0] as i64 - 1).sum::<i64>();
    let full = row / width;
    let narrow = first_panel == full;
    let wide = if narrow { row % width } else { width };
    if reach >= wide || panels_end > first_panel.max(full - 1) {
        return None;
    }
    let rows = rows as i64;
    let start = first_panel * width * rows;
    let mut packed = Affine::constant(start + k0 * wide + within);
    for &(var, coefficient) in &index.terms {
        packed = match coefficient {
            1 => packed.plus(var, 1),
            c if c == width => packed.plus(var, rows * width),
            c if c % row == 0 => packed.plus(var, c / row * wide),
            _ => return None,
        };
    }
    Some(packed)
}
