//! Whether the iterations of a parallel loop are independent.
//!
//! Two iterations must not touch the same element of an output if one of them writes it. Each access, including those of a tile's
//! instructions, touches `stride · p + Σ coefficient · variable + start ..+ width`, where `p` is the variable of
//! the parallel loop. Two accesses are apart if `stride · Δp + (difference of the rest)` is not 0 for any `Δp` other than 0.
//! The difference of the rest has two parts. Coefficients below the stride give a range, which is treated as a whole. Larger
//! coefficients give multiples of their greatest common divisor, which are checked one by one. Guards are ignored.
//!
//! Every thread has its own temporaries, so there is no race on them. But an iteration must not read what another iteration
//! left there. So some statement must write a temporary before another statement reads it.

use super::tile::touches;
use crate::loops::*;
use std::collections::{BTreeMap, BTreeSet};

/// The most multiples checked for a pair of accesses; if there are more, the accesses count as dependent.
const MAX_MULTIPLES: i128 = 1 << 12;

/// A buffer through which iterations of the loop over `var` may depend on each other. `stmts` is the body of the loop, and `extent`
/// its number of iterations. Every address must be well-formed.
pub fn dependence(program: &Program, var: Var, extent: usize, stmts: &[Stmt]) -> Option<BufId> {
    let mut found = Accesses { program, var, loops: Vec::new(), outputs: BTreeMap::new(), filled: BTreeSet::new(), early: None };
    found.block(stmts);
    let last = extent as i128 - 1;
    let clash = found.outputs.iter().find(|(_, accesses)| {
        accesses.iter().enumerate().any(|(i, a)| accesses[i..].iter().any(|b| (a.written || b.written) && !apart(a, b, last)))
    });
    if last < 1 { None } else { clash.map(|(buffer, _)| *buffer).or(found.early) }
}

/// The elements `stride · p + Σ coefficient · variable + start ..+ width` of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    written: bool,
    stride: i128,
    /// For each coefficient, the sum of the largest values of its variables.
    moves: BTreeMap<i128, i128>,
    start: i128,
    width: i128,
}

/// Collects what the iterations of a loop access, in the order of the statements.
struct Accesses<'a> {
    program: &'a Program,
    var: Var,
    /// Variables of the loops around a statement, with their extents.
    loops: Vec<(Var, usize)>,
    outputs: BTreeMap<BufId, Vec<Pattern>>,
    /// Temporaries that were written so far.
    filled: BTreeSet<BufId>,
    /// A temporary that was read before it was written.
    early: Option<BufId>,
}

impl Accesses<'_> {
    fn block(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            match stmt {
                Stmt::For { var, extent, body, .. } => self.below(&[(*var, *extent)], |found| found.block(body)),
                Stmt::If { body, .. } => self.block(body),
                Stmt::Store { target, value } => {
                    self.reads(value);
                    self.element(target, true);
                }
                Stmt::Reduce(reduce) => {
                    self.reads(&reduce.init);
                    for update in &reduce.updates {
                        self.below(&update.loops, |found| found.reads(&update.value));
                    }
                    self.reads(&reduce.finish);
                    self.element(&reduce.target, true);
                }
                Stmt::Call { tile, args } => {
                    let Some(tile) = self.program.tiles.get(*tile) else { continue };
                    let touched = touches(tile);
                    // A tile may read what it has written itself.
                    for written in [true, false] {
                        for (arg, touches) in args.iter().zip(&touched) {
                            for touch in touches.iter().filter(|touch| touch.written == written) {
                                self.add(arg, written, &touch.steps, touch.start, touch.width);
                            }
                        }
                    }
                }
            }
        }
    }

    fn below(&mut self, loops: &[(Var, usize)], visit: impl FnOnce(&mut Self)) {
        let outside = self.loops.len();
        self.loops.extend_from_slice(loops);
        visit(self);
        self.loops.truncate(outside);
    }

    fn reads(&mut self, expr: &Expr) {
        if let Expr::Load(access) = expr {
            self.element(access, false);
        }
        expr.children().for_each(|child| self.reads(child));
    }

    fn element(&mut self, access: &Access, written: bool) {
        self.add(access, written, &[], 0, 1);
    }

    /// Adds `width` elements from `start` after an address on, moved by the loops so far and by those of a tile.
    fn add(&mut self, access: &Access, written: bool, steps: &[(i64, i64)], start: i64, width: i64) {
        match self.program.buffers.get(access.buffer).map(|buffer| buffer.kind) {
            Some(BufferKind::Output) => self.add_to_output(access, written, steps, start, width),
            Some(BufferKind::Temp) if written => _ = self.filled.insert(access.buffer),
            Some(BufferKind::Temp) if !self.filled.contains(&access.buffer) => _ = self.early.get_or_insert(access.buffer),
            _ => {}
        }
    }

    fn add_to_output(&mut self, access: &Access, written: bool, steps: &[(i64, i64)], start: i64, width: i64) {
        let extent = |var: Var| self.loops.iter().find(|l| l.0 == var).map_or(1, |l| l.1 as i64);
        let terms = access.index.terms.iter().filter(|term| term.0 != self.var);
        let mut moves = BTreeMap::new();
        for (coefficient, extent) in terms.map(|&(var, c)| (c, extent(var))).chain(steps.iter().copied()) {
            if coefficient != 0 && extent > 1 {
                *moves.entry(i128::from(coefficient)).or_insert(0) += i128::from(extent) - 1;
            }
        }
        let stride = access.index.coefficient(self.var).into();
        let start = i128::from(access.index.offset) + i128::from(start);
        let pattern = Pattern { written, stride, moves, start, width: width.into() };
        let patterns = self.outputs.entry(access.buffer).or_default();
        if let Some(last) = patterns.last_mut().filter(|last| last.joins(&pattern)) {
            // Neighbouring vectors are one wider one.
            last.width += pattern.width;
        } else if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
}

impl Pattern {
    /// Whether another pattern begins where this one ends, and is the same otherwise.
    fn joins(&self, other: &Pattern) -> bool {
        let place = |pattern: &Pattern| (pattern.written, pattern.stride);
        place(self) == place(other) && self.start + self.width == other.start && self.moves == other.moves
    }

    /// The first and the last element touched in iterations `0..=last`.
    fn range(&self, last: i128) -> (i128, i128) {
        let moves = self.moves.iter().map(|(&c, &n)| c * n).chain([self.stride * last]);
        let (low, high) = moves.fold((0, 0), |(low, high), reach| (low + reach.min(0), high + reach.max(0)));
        (self.start + low, self.start + self.width - 1 + high)
    }
}

/// Whether two patterns, or one and itself, never touch the same element in two different iterations of `0..=last`.
fn apart(a: &Pattern, b: &Pattern, last: i128) -> bool {
    let (a_range, b_range) = (a.range(last), b.range(last));
    if last == 0 || a_range.1 < b_range.0 || b_range.1 < a_range.0 {
        return true;
    }
    if a.stride != b.stride || a.stride == 0 {
        return false;
    }
    let stride = a.stride.abs();
    // Without the iterations, their difference is in `low..=high` plus a multiple of `step` in `least..=most`.
    let (mut low, mut high) = (a.start - b.start - (b.width - 1), a.start - b.start + (a.width - 1));
    let (mut step, mut least, mut most) = (0, 0, 0);
    let reaches = a.moves.iter().map(|(&c, &n)| (c, n)).chain(b.moves.iter().map(|(&c, &n)| (-c, n)));
    for (coefficient, times) in reaches {
        let reach = coefficient * times;
        let (below, above) = if coefficient.abs() < stride { (&mut low, &mut high) } else { (&mut least, &mut most) };
        *below += reach.min(0);
        *above += reach.max(0);
        if coefficient.abs() >= stride {
            step = gcd(step, coefficient.abs());
        }
    }
    if step == 0 {
        return !reaches_zero(stride, last, low, high);
    }
    // Multiples that are farther away cannot be reached.
    let reach = stride * last;
    let first = (least.max(-high - reach)).div_euclid(step);
    let end = (most.min(reach - low)).div_euclid(step);
    end - first <= MAX_MULTIPLES && (first..=end).all(|k| !reaches_zero(stride, last, low + k * step, high + k * step))
}

/// Whether `stride · Δ + x` is 0 for an `x` in `low..=high` and a `Δ` in `-last..=last` other than 0.
fn reaches_zero(stride: i128, last: i128, low: i128, high: i128) -> bool {
    let first = (-high).div_euclid(stride) + i128::from((-high).rem_euclid(stride) != 0);
    let end = (-low).div_euclid(stride);
    let (first, end) = (first.max(-last), end.min(last));
    first <= end && (first, end) != (0, 0)
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::scalar::UnaryOp;
    use crate::tile::{Addr, Inst, Ptr, Reg, Tile, TileStmt};
    use crate::verify::{self, ProgramProblem, VerifyError};
    use proptest::prelude::*;
    use std::sync::Arc;

    const P: Var = Var(0);
    const OUT: BufId = BufId(1);
    const TEMP: BufId = BufId(2);

    fn at(buffer: BufId, index: Affine) -> Access {
        Access { buffer, index }
    }

    fn store(target: Access) -> Stmt {
        Stmt::Store { target, value: Expr::Const(1.0) }
    }

    fn nest(loops: &[(u32, usize)], stmts: Vec<Stmt>) -> Vec<Stmt> {
        let serial =
            |body, &(var, extent): &(u32, usize)| vec![Stmt::For { var: Var(var), extent, kind: LoopKind::Serial, body }];
        loops.iter().rev().fold(stmts, serial)
    }

    /// A parallel loop of `extent` iterations around statements, with an input, an output and a temporary of 1000 elements.
    fn program(extent: usize, body: Vec<Stmt>, tiles: Vec<Tile>) -> Program {
        let buffer = |name: &str, kind| Buffer { name: name.to_string(), len: 1000, kind };
        let buffers = [buffer("x", BufferKind::Input), buffer("y", BufferKind::Output), buffer("t", BufferKind::Temp)].to_vec();
        Program {
            name: "test".to_string(),
            buffers: buffers.into(),
            vars: (0..4).map(|i| format!("i{i}")).collect(),
            setup: vec![],
            body: vec![Stmt::For { var: P, extent, kind: LoopKind::Parallel, body }],
            tiles: tiles.into(),
        }
    }

    #[track_caller]
    fn check(program: &Program, race: Option<&str>) {
        let problem = match verify::program(program) {
            Ok(()) => None,
            Err(VerifyError::Program { problem: ProgramProblem::Dependent { buffer, .. }, .. }) => Some(buffer),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(problem.as_deref(), race, "{program}");
    }

    #[test]
    fn iterations_that_write_one_element_are_refused() {
        check(&program(8, vec![store(at(OUT, Affine::var(P, 1)))], vec![]), None);
        check(&program(8, vec![store(at(OUT, Affine::constant(3)))], vec![]), Some("y"));
        check(&program(1, vec![store(at(OUT, Affine::constant(3)))], vec![]), None);
        // Two variables with the same coefficient have the sum of their ranges.
        let twice =
            |stride| nest(&[(1, 3), (2, 3)], vec![store(at(OUT, Affine::var(P, stride).plus(Var(1), 1).plus(Var(2), 1)))]);
        check(&program(8, twice(5), vec![]), None);
        check(&program(8, twice(4), vec![]), Some("y"));
        // Forwards in one access and backwards in the other.
        let forwards = at(OUT, Affine::var(P, 3).plus(Var(1), 1).shift(2));
        let backwards = at(OUT, Affine::var(P, 3).plus(Var(1), -1).shift(2));
        check(&program(8, nest(&[(1, 3)], vec![store(forwards), store(backwards)]), vec![]), Some("y"));
    }

    #[test]
    fn iterations_that_read_what_another_writes_are_refused() {
        let copy = |from: i64| Stmt::Store {
            target: at(OUT, Affine::var(P, 2)),
            value: Expr::Unary(UnaryOp::Relu, Arc::new(Expr::Load(at(OUT, Affine::var(P, 2).shift(from))))),
        };
        check(&program(8, vec![copy(0)], vec![]), None);
        check(&program(8, vec![copy(1)], vec![]), None);
        check(&program(8, vec![copy(2)], vec![]), Some("y"));
        check(&program(8, vec![copy(100)], vec![]), None);
    }

    #[test]
    fn temporaries_are_private_but_filled_in_each_iteration() {
        let fill = nest(&[(1, 4)], vec![store(at(TEMP, Affine::var(Var(1), 1)))]);
        let load = Stmt::Store { target: at(OUT, Affine::var(P, 1)), value: Expr::Load(at(TEMP, Affine::constant(2))) };
        check(&program(8, [fill.clone(), vec![load.clone()]].concat(), vec![]), None);
        check(&program(8, [vec![load], fill].concat(), vec![]), Some("t"));
    }

    /// A tile that writes `rows` rows of `width` vectors of 4 elements; rows are 40 elements apart.
    fn block(rows: u32, width: usize) -> Tile {
        let address = |i: usize| Addr { ptr: Ptr(0), offset: 4 * i as i32 };
        let mut body: Vec<TileStmt> =
            (0..width).map(|i| TileStmt::Inst(Inst::Store { src: Reg(0), addr: address(i), masked: false })).collect();
        body.push(TileStmt::Advance { ptr: Ptr(0), by: 40 });
        let body = vec![TileStmt::Inst(Inst::Const { dst: Reg(0), value: 0.0 }), TileStmt::Loop { trips: rows, body }];
        Tile { name: "block".to_string(), lanes: 4, tail: 0, pointers: 1, body }
    }

    #[test]
    fn what_tiles_write_counts() {
        let call = |stride| vec![Stmt::Call { tile: TileId(0), args: vec![at(OUT, Affine::var(P, stride))] }];
        // Blocks of columns side by side, whose rows interleave; one vector more is too wide.
        check(&program(5, call(8), vec![block(6, 2)]), None);
        check(&program(5, call(8), vec![block(6, 3)]), Some("y"));
        // The block that follows the last one would be in the next row.
        check(&program(6, call(8), vec![block(6, 2)]), Some("y"));
        check(&program(6, call(8), vec![block(1, 2)]), None);
        check(&program(4, call(200), vec![block(5, 10)]), None);
        check(&program(4, call(160), vec![block(5, 10)]), Some("y"));
    }

    /// `stride · p + a · i1 + b · i2 + start`, the extents of `i1` and `i2`, and whether it is a store.
    fn pattern() -> impl Strategy<Value = (i64, i64, i64, [usize; 2])> {
        (-12i64..12, -12i64..12, 0i64..20, [1usize..5, 1usize..5])
    }

    proptest! {
        /// If no dependence is reported, running all iterations finds no race.
        #[test]
        fn no_race_is_overlooked(stride in -24i64..24, extent in 1usize..6, a in pattern(), b in pattern()) {
            let access = |(one, two, start, _): (i64, i64, i64, [usize; 2])| {
                at(OUT, Affine::var(P, stride).plus(Var(1), one).plus(Var(2), two).shift(start + 300))
            };
            let stmts = |pattern: (i64, i64, i64, [usize; 2])| nest(&[(1, pattern.3[0]), (2, pattern.3[1])], vec![store(access(pattern))]);
            let body = [stmts(a), stmts(b)].concat();
            let program = program(extent, body.clone(), vec![]);
            let touched = |p: usize| -> BTreeSet<i64> {
                let of = |pattern: (i64, i64, i64, [usize; 2])| {
                    let [n, m] = pattern.3;
                    (0..n * m).map(move |i| access(pattern).index.eval(|var| [p, i / m, i % m, 0][var.index()] as i64)).collect::<Vec<_>>()
                };
                of(a).into_iter().chain(of(b)).collect()
            };
            let race = (0..extent).any(|p| (0..p).any(|q| !touched(p).is_disjoint(&touched(q))));
            if race {
                prop_assert_eq!(dependence(&program, P, extent, &body), Some(OUT));
            }
        }
    }
}
