//! Replaces an inner nest by micro-kernels.

use sonar_ir::entity::EntityVec;
use sonar_ir::loops::{Access, Affine, LoopKind, Program, Stmt, TileId, Var};
use sonar_ir::tile::{Ptr, Tile, TileStmt};

use crate::error::ScheduleError;
use crate::loops::build::{at, fresh_var};
use crate::loops::visit;
use crate::microkernels::{Columns, MicroKernel, Nest, RegisterTile, depth, generate};
use crate::primitives::find;

/// Computes the two innermost loops and the reductions inside of them with register tiles of `mr` rows × `nv` vectors.
///
/// ```text
/// for x { for c { out[x, c] = Σ … } }   -->   for c.o in 0..C / w { call tile(mr × nv)(…) }    with w = nv · lanes
///                                             call tile(mr × remaining vectors, the last masked)(…)
/// ```
///
/// The tile itself loops over the blocks of `rows`. Without rows (`-`), it loops over the blocks of columns. Surrounding serial
/// loops with nothing else in them also become loops of the tile, because a call costs as much as a dozen instructions.
/// Legal if the two loops are perfectly nested around one reduction or around stores, the columns are consecutive elements of
/// its target and consecutive or constant in its loads, every operator has a vector instruction, and the tile fits the
/// registers.
pub fn tensorize(
    program: &Program,
    rows: &str,
    cols: &str,
    [mr, nv, unroll]: [usize; 3],
    lanes: usize,
) -> Result<Program, ScheduleError> {
    let mut program = program.clone();
    // The loops are either in the body or in the setup.
    let in_setup = find(&program, cols).is_err();
    if in_setup {
        std::mem::swap(&mut program.setup, &mut program.body);
    }
    let c = find(&program, cols)?;
    let r = if rows == "-" { None } else { Some(find(&program, rows)?) };
    if mr == 0 || nv == 0 || unroll == 0 {
        return Err(ScheduleError::BadFactor { name: cols.to_owned(), extent: 0, factor: 0 });
    }
    let mut body = std::mem::take(&mut program.body);
    let outermost =
        outermost(&body, c, r).ok_or_else(|| ScheduleError::NotPerfect { outer: rows.to_owned(), inner: cols.to_owned() })?;
    let name = format!("{}_{mr}x{nv}", program.name);
    let shape = RegisterTile { mr, nv, unroll };
    let replaced = visit::at_loop(&mut body, outermost, &mut |stmts, i| {
        let calls = calls(&mut program, &name, &stmts[i], c, r, shape, lanes)?;
        stmts.splice(i..=i, calls).for_each(drop);
        Ok(())
    });
    replaced.unwrap_or_else(|| Err(ScheduleError::NoLoop(cols.to_owned())))?;
    absorb(&mut body, &mut program.tiles);
    program.body = body;
    if in_setup {
        std::mem::swap(&mut program.setup, &mut program.body);
    }
    drop_unused(&mut program);
    Ok(program)
}

/// The outer one of two perfectly nested loops, or the only loop.
fn outermost(body: &[Stmt], cols: Var, rows: Option<Var>) -> Option<Var> {
    let Some(rows) = rows else { return Some(cols) };
    let mut copy = body.to_vec();
    [(rows, cols), (cols, rows)].into_iter().find_map(|(outer, inner)| {
        let nested = visit::at_loop(&mut copy, outer, &mut |stmts, i| match &stmts[i] {
            Stmt::For { body, .. } => matches!(body.as_slice(), [Stmt::For { var, .. }] if *var == inner),
            _ => false,
        });
        nested.unwrap_or(false).then_some(outer)
    })
}

/// The calls that replace a nest.
fn calls(
    program: &mut Program,
    name: &str,
    stmt: &Stmt,
    cols: Var,
    rows: Option<Var>,
    shape: RegisterTile,
    lanes: usize,
) -> Result<Vec<Stmt>, ScheduleError> {
    let (mut row_extent, mut col_extent) = (1, 1);
    let mut inner = std::slice::from_ref(stmt);
    for _ in 0..1 + usize::from(rows.is_some()) {
        let [Stmt::For { var, extent, kind, body }] = inner else {
            return Err(ScheduleError::NotPerfect { outer: name.to_owned(), inner: name.to_owned() });
        };
        let label = || program.vars[*var].clone();
        if *kind != LoopKind::Serial {
            let reason = "it is parallel or unrolled".to_owned();
            return Err(ScheduleError::Illegal { step: "tensorize", name: label(), reason });
        }
        if *var == cols {
            col_extent = *extent;
        } else {
            row_extent = *extent;
        }
        inner = body;
    }
    let no_tile = |refusal| ScheduleError::NoTile { step: "tensorize", name: name.to_owned(), refusal };
    let nest = Nest { stmts: inner, rows: rows.map(|var| (var, row_extent)), cols: (cols, col_extent), across: false };
    // A tile is not wider than the columns.
    let shape = RegisterTile { nv: shape.nv.min(col_extent.div_ceil(lanes)), ..shape };
    let width = shape.nv * lanes;
    let (blocks, rest) = (col_extent / width, col_extent % width);
    let (vectors, tail) = (rest.div_ceil(lanes), rest % lanes);
    let shape = RegisterTile { mr: shape.mr.min(row_extent), ..shape };
    if rows.is_none() {
        let columns = Columns { blocks, rest: vectors, tail };
        let kernel = generate(name, nest, shape, columns, lanes).map_err(no_tile)?;
        return Ok(vec![call(program, kernel, &Affine::default())]);
    }
    let mut stmts = Vec::new();
    if blocks > 0 {
        let kernel = generate(name, nest, shape, Columns { blocks: 1, rest: 0, tail: 0 }, lanes).map_err(no_tile)?;
        if blocks == 1 {
            stmts.push(call(program, kernel, &Affine::default()));
        } else {
            let label = format!("{}.o", program.vars[cols]);
            let block = fresh_var(program, &label);
            let body = vec![call(program, kernel, &Affine::var(block, width as i64))];
            stmts.push(Stmt::For { var: block, extent: blocks, kind: LoopKind::Serial, body });
        }
    }
    if rest > 0 {
        let shape = RegisterTile { nv: vectors, ..shape };
        let columns = Columns { blocks: 0, rest: vectors, tail };
        let kernel = generate(&format!("{name}_rest"), nest, shape, columns, lanes).map_err(no_tile)?;
        stmts.push(call(program, kernel, &Affine::constant((blocks * width) as i64)));
    }
    Ok(stmts)
}

/// A call of a tile that starts at this column. Equal tiles are shared.
pub(super) fn call(program: &mut Program, kernel: MicroKernel, column: &Affine) -> Stmt {
    let tile = shared(&mut program.tiles, kernel.tile);
    let args = kernel.args.into_iter().map(|(access, moves)| Access {
        buffer: access.buffer,
        index: if moves { access.index.add(column) } else { access.index },
    });
    Stmt::Call { tile, args: args.collect() }
}

/// Moves serial loops that contain only a call into the tile of the call, from the inside, up to the maximum depth of tiles.
pub(super) fn absorb(stmts: &mut [Stmt], tiles: &mut EntityVec<TileId, Tile>) {
    for stmt in stmts {
        match stmt {
            Stmt::For { body, .. } | Stmt::If { body, .. } => absorb(body, tiles),
            _ => continue,
        }
        if let Stmt::For { var, extent, kind: LoopKind::Serial, body } = stmt
            && let [Stmt::Call { tile, args }] = body.as_slice()
            && let Some(repeated) = repeat(&tiles[*tile], *extent, args, *var)
        {
            let here = |access: &Access| at(access.buffer, access.index.substitute(*var, &Affine::default()));
            let args = args.iter().map(here).collect();
            *stmt = Stmt::Call { tile: shared(tiles, repeated), args };
        }
    }
}

/// A tile that repeats a tile `trips` times, each time with the arguments for the next value of `var`.
fn repeat(tile: &Tile, trips: usize, args: &[Access], var: Var) -> Option<Tile> {
    if depth(&tile.body) >= Tile::MAX_DEPTH {
        return None;
    }
    let mut moved = EntityVec::filled(0, tile.pointers);
    movement(&tile.body, 1, &mut moved);
    let mut body = tile.body.clone();
    for ((ptr, moved), access) in moved.entries().zip(args) {
        let by = access.index.coefficient(var) - moved;
        if by != 0 {
            // The offset in bytes must fit an instruction.
            i32::try_from(by.checked_mul(4)?).ok()?;
            body.push(TileStmt::Advance { ptr, by: by as i32 });
        }
    }
    let body = vec![TileStmt::Loop { trips: u32::try_from(trips).ok()?, body }];
    Some(Tile { body, ..tile.clone() })
}

/// Adds the movement of each pointer when the statements run `times` times.
fn movement(stmts: &[TileStmt], times: i64, moved: &mut EntityVec<Ptr, i64>) {
    for stmt in stmts {
        match stmt {
            TileStmt::Loop { trips, body } => movement(body, times * i64::from(*trips), moved),
            TileStmt::Advance { ptr, by } => moved[*ptr] += times * i64::from(*by),
            TileStmt::Inst(_) => {}
        }
    }
}

/// Adds a tile to the program, or returns an equal one.
fn shared(tiles: &mut EntityVec<TileId, Tile>, tile: Tile) -> TileId {
    tiles.find(|other| other.same_code(&tile)).unwrap_or_else(|| tiles.push(tile))
}

/// Removes tiles without calls.
pub(super) fn drop_unused(program: &mut Program) {
    let mut used = EntityVec::filled(false, program.tiles.len());
    for stmts in [&mut program.setup, &mut program.body] {
        visit::calls_mut(stmts, &mut |tile| used[*tile] = true);
    }
    let mut kept = EntityVec::new();
    let renamed = program.tiles.map(|(id, tile)| if used[id] { kept.push(tile.clone()) } else { id });
    for stmts in [&mut program.setup, &mut program.body] {
        visit::calls_mut(stmts, &mut |tile| *tile = renamed[*tile]);
    }
    program.tiles = kept;
}
