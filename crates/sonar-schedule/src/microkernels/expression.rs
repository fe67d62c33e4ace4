//! The expressions of a nest as DAGs, and the pointers for their loads.

use sonar_ir::loops::{Access, Affine, BufId, Expr, Stmt, Var};
use sonar_ir::rounding::rounds_on_purpose;
use sonar_ir::tile::BitsOp;
use sonar_ir::{BinaryOp, ReduceOp, UnaryOp};
use std::collections::HashMap;
use std::sync::Arc;

use super::{Nest, RegisterTile, reduction, without};

/// An analysed nest.
pub(super) struct NestDag {
    /// Initial value of the accumulator. `None` for a store.
    pub(super) init: Option<Dag>,
    /// Each update.
    pub(super) updates: Vec<UpdateDag>,
    /// The stored values, as functions of the accumulator.
    pub(super) finish: Dag,
    /// The stores.
    pub(super) targets: Vec<Target>,
    pointers: Vec<Pointer>,
    /// The columns, if they are reduced.
    pub(super) across: Option<usize>,
}

/// A store.
pub(super) struct Target {
    pub(super) at: Location,
    /// The node of [`NestDag::finish`] that is stored.
    pub(super) value: usize,
}

/// One update of the accumulator.
pub(super) struct UpdateDag {
    pub(super) op: ReduceOp,
    pub(super) value: Dag,
    /// Extents of the merged loops, outermost first.
    pub(super) trips: Vec<usize>,
}

/// Expressions without repeated parts. Operands come first. If there is only one value, it is the last node.
pub(super) struct Dag {
    pub(super) nodes: Vec<DagNode>,
    /// How often each node is used as an operand.
    uses: Vec<u32>,
    /// The number of each node, for finding equal nodes.
    numbers: HashMap<Key, usize>,
    /// Shared expressions that have been added, with their nodes.
    added: HashMap<*const Expr, usize>,
    /// Most constants that are kept in registers. If there are more, each is loaded at every use.
    most_constants: usize,
}

impl Default for Dag {
    fn default() -> Self {
        Dag {
            nodes: Vec::new(),
            uses: Vec::new(),
            numbers: HashMap::new(),
            added: HashMap::new(),
            most_constants: MOST_CONSTANTS,
        }
    }
}

pub(super) struct DagNode {
    pub(super) kind: Kind,
    /// Whether the value depends on the row.
    pub(super) rows: bool,
    /// Whether the value depends on the column (its lanes differ).
    pub(super) cols: bool,
    /// Whether the value changes in the loops of the update.
    pub(super) reduced: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Const(f32),
    Load(Location),
    Acc,
    Unary(UnaryOp, usize),
    /// Here `max` and `min` are single instructions: if either operand is NaN, the result is the second operand.
    Binary(BinaryOp, usize, usize),
    /// A bit operation with a constant on the lanes of a node.
    Bits(BitsOp, usize, u32),
    /// The bitwise or of two nodes.
    Or(usize, usize),
    /// The product of the first two nodes plus the third.
    Fma(usize, usize, usize),
}

/// An element relative to a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Location {
    pub(super) pointer: usize,
    pub(super) offset: i64,
    /// Elements from one row to the next.
    pub(super) row: i64,
    /// Elements from one iteration of the innermost reduction loop to the next.
    pub(super) inner: i64,
    /// Whether it moves with the column, by one element.
    pub(super) col: bool,
}

/// Instructions of an expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) operations: usize,
    /// Loads of vectors.
    pub(super) loads: usize,
    /// Loads of an element into all lanes.
    pub(super) broadcasts: usize,
}

/// A pointer. Loads that move in the same way share one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pointer {
    access: Access,
    row: i64,
    col: bool,
    /// The update that moves it, and the movement in elements in each of its loops. `None` if no reduction moves it.
    steps: Option<(usize, Vec<i64>)>,
}

/// The variables of one expression.
struct Scope<'a> {
    rows: Option<Var>,
    cols: Var,
    /// Index of the update, and its merged loops: the innermost variable of each.
    update: Option<(usize, &'a [Var])>,
    /// All reduction variables.
    reduced: &'a [Var],
}

/// Most constants of an expression that are kept in registers.
const MOST_CONSTANTS: usize = 4;
/// The same for several stores, whose expressions use constants repeatedly.
const MOST_SHARED_CONSTANTS: usize = 8;

impl NestDag {
    /// Analyses a nest. The error is the reason why it cannot be a tile.
    pub(super) fn new(nest: Nest<'_>) -> Result<NestDag, String> {
        let mut pointers = Vec::new();
        let (rows, cols) = (nest.rows.map(|r| r.0), nest.cols.0);
        let outside = Scope { rows, cols, update: None, reduced: &[] };
        let mut stores: Vec<(Location, &Expr)> = Vec::new();
        for stmt in nest.stmts {
            let (target, value) = match stmt {
                Stmt::Store { target, value } => (target, value),
                Stmt::Reduce(reduce) if nest.stmts.len() == 1 => (&reduce.target, &reduce.finish),
                _ => return Err("the body of the loops is neither stores nor one reduction".to_owned()),
            };
            if target.index.coefficient(cols) != i64::from(!nest.across) {
                return Err("the columns are not consecutive elements of the target".to_owned());
            }
            if nest.stmts.len() > 1 && reads_of(nest.stmts, target.buffer) {
                return Err("one statement reads what another stores".to_owned());
            }
            stores.push((outside.location(target, &mut pointers)?, value));
        }
        let mut init = None;
        let mut updates = Vec::new();
        if let Some(reduce) = reduction(nest.stmts) {
            init = Some(Dag::new(&reduce.init, &outside, &mut pointers)?);
            for (i, update) in reduce.updates.iter().enumerate() {
                if update.op == ReduceOp::Mean {
                    return Err("a mean is not an update".to_owned());
                }
                let (trips, vars) = merged(&update.loops, &update.value);
                let reduced: Vec<Var> = update.loops.iter().map(|l| l.0).collect();
                let scope = Scope { rows, cols, update: Some((i, &vars)), reduced: &reduced };
                // The innermost variable of merged loops stands for all of them.
                let value = Dag::new(&update.value, &scope, &mut pointers)?;
                updates.push(UpdateDag { op: update.op, value, trips });
            }
        }
        let constants = if stores.len() > 1 { MOST_SHARED_CONSTANTS } else { MOST_CONSTANTS };
        let mut finish = Dag { most_constants: constants, ..Dag::default() };
        let mut targets = Vec::new();
        for (at, value) in stores {
            targets.push(Target { at, value: finish.add(value, &outside, &mut pointers)? });
        }
        Ok(NestDag { init, updates, finish, targets, pointers, across: nest.across.then_some(nest.cols.1) })
    }

    /// The start address of each pointer, and whether it moves with the column.
    pub(super) fn pointers(&self) -> Vec<(Access, bool)> {
        self.pointers.iter().map(|pointer| (pointer.access.clone(), pointer.col)).collect()
    }

    /// The movement of a pointer from row to row and from column to column.
    pub(super) fn moves(&self, pointer: usize) -> (i64, i64) {
        (self.pointers[pointer].row, i64::from(self.pointers[pointer].col))
    }

    /// Number of pointers.
    pub(super) fn pointer_count(&self) -> usize {
        self.pointers.len()
    }

    /// The movement of a pointer in loop number `level` of update `update`.
    pub(super) fn step(&self, pointer: usize, update: usize, level: usize) -> i64 {
        match &self.pointers[pointer].steps {
            Some((owner, steps)) if *owner == update => steps[level],
            _ => 0,
        }
    }

    /// Number of accumulator sets that take turns: enough to keep two units with a latency of four cycles busy.
    pub(super) fn sets(&self, rows: usize, vectors: usize, unroll: usize) -> usize {
        let Some(first) = self.updates.first() else { return 1 };
        let longest = self.updates.iter().filter_map(|update| update.trips.last()).max().copied().unwrap_or(1);
        if self.updates.iter().any(|update| update.op != first.op) {
            return 1;
        }
        (8 / (rows * vectors)).clamp(1, unroll.min(longest).max(1))
    }

    /// Nesting depth of the loops of updates.
    pub(super) fn depth(&self) -> usize {
        self.updates.iter().map(|update| update.trips.len()).max().unwrap_or(0)
    }

    /// An upper bound of the number of registers that are live at the same time.
    pub(super) fn registers(&self, shape: RegisterTile) -> usize {
        let RegisterTile { mr, nv, unroll } = shape;
        let accumulators = if self.init.is_none() { 0 } else { mr * nv * self.sets(mr, nv, unroll) };
        let count = |node: &DagNode| (if node.rows { mr } else { 1 }) * (if node.cols { nv } else { 1 });
        let hoisted: usize = self
            .updates
            .iter()
            .map(|update| update.value.hoisted().into_iter().map(|i| count(&update.value.nodes[i])).sum::<usize>())
            .max()
            .unwrap_or(0);
        let working = |dag: &Dag| {
            // Values that do not depend on the row stay for all rows. The others stay for one row, or for one vector of a row.
            let held = dag.held().into_iter().map(|i| if dag.nodes[i].cols { nv } else { 1 });
            held.sum::<usize>() + dag.transient()
        };
        // In a sum of products, no product needs its own register. An extreme needs an additional register to be combined.
        let combining = |update: &UpdateDag| match update.op {
            ReduceOp::Max | ReduceOp::Min => working(&update.value) + 1,
            _ => working(&update.value) - usize::from(update.multiplies()),
        };
        let update = self.updates.iter().map(combining).max().unwrap_or(0);
        let rest = self.init.as_ref().map_or(0, working).max(working(&self.finish)).max(update);
        accumulators + hoisted + rest
    }
}

impl UpdateDag {
    /// Whether it adds a product, which is a single instruction.
    pub(super) fn multiplies(&self) -> bool {
        let root = &self.value.nodes[self.value.root()];
        self.op == ReduceOp::Sum && root.reduced && matches!(root.kind, Kind::Binary(BinaryOp::Mul, ..))
    }

    /// Instructions that combine a value into an accumulator, besides those that compute the value. A sum of products needs
    /// none, because one instruction does both. An extreme needs two more to keep NaN.
    pub(super) fn combining(&self) -> usize {
        match self.op {
            _ if self.multiplies() => 0,
            ReduceOp::Sum | ReduceOp::Mean => 1,
            ReduceOp::Max | ReduceOp::Min => 3,
        }
    }
}

impl Dag {
    fn new(expr: &Expr, scope: &Scope<'_>, pointers: &mut Vec<Pointer>) -> Result<Dag, String> {
        let mut dag = Dag::default();
        dag.add(expr, scope, pointers)?;
        Ok(dag)
    }

    /// The node of the value.
    pub(super) fn root(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Number of vector loads that are the same for all rows.
    pub(super) fn shared_loads(&self) -> usize {
        let shared = |node: &&DagNode| matches!(node.kind, Kind::Load(_)) && node.cols && node.reduced && !node.rows;
        self.nodes.iter().filter(shared).count()
    }

    /// Instructions of a block. With `repeated`, only those inside of the loops of the update.
    pub(super) fn counts(&self, mr: usize, nv: usize, repeated: bool) -> Counts {
        let mut counts = Counts::default();
        for node in self.nodes.iter().filter(|node| !repeated || node.reduced) {
            let times = (if node.rows { mr } else { 1 }) * (if node.cols { nv } else { 1 });
            match node.kind {
                Kind::Load(_) if node.cols => counts.loads += times,
                Kind::Load(_) => counts.broadcasts += times,
                Kind::Unary(..) | Kind::Binary(..) | Kind::Bits(..) | Kind::Or(..) | Kind::Fma(..) => counts.operations += times,
                Kind::Const(_) | Kind::Acc => {}
            }
        }
        counts
    }

    /// Nodes that are constant in the loops of the update, but are operands of nodes that are not.
    pub(super) fn hoisted(&self) -> Vec<usize> {
        let mut hoisted: Vec<usize> = Vec::new();
        for user in (0..self.nodes.len()).filter(|&i| self.nodes[i].reduced) {
            hoisted.extend(self.operands(user).filter(|&i| !self.nodes[i].reduced && !self.anew(i)));
        }
        if !self.nodes[self.root()].reduced {
            hoisted.push(self.root());
        }
        hoisted.sort_unstable();
        hoisted.dedup();
        hoisted
    }

    /// The operands of a node.
    fn operands(&self, node: usize) -> impl Iterator<Item = usize> + use<> {
        operands(self.nodes[node].kind)
    }

    /// Whether it is a constant that is loaded at every use.
    pub(super) fn anew(&self, node: usize) -> bool {
        matches!(self.nodes[node].kind, Kind::Const(_)) && !self.keeps_constants()
    }

    /// Nodes that are computed for several rows or vectors, because a node that uses them depends on more of row and column
    /// than they do.
    fn held(&self) -> Vec<usize> {
        let mut held = Vec::new();
        for user in 0..self.nodes.len() {
            let varies = (self.nodes[user].rows, self.nodes[user].cols);
            held.extend(self.operands(user).filter(|&i| (self.nodes[i].rows, self.nodes[i].cols) != varies && !self.anew(i)));
        }
        held.sort_unstable();
        held.dedup();
        held
    }

    /// Largest number of registers for nodes of one row and vector at the same time, without those that are held anyway.
    fn transient(&self) -> usize {
        let held = self.held();
        let mut last = vec![0; self.nodes.len()];
        for user in 0..self.nodes.len() {
            self.operands(user).for_each(|i| last[i] = user);
        }
        let counts = |i: usize| self.nodes[i].kind != Kind::Acc && !held.contains(&i);
        let live = |at: usize| {
            let kept = (0..at).filter(|&i| counts(i) && !self.anew(i) && last[i] >= at).count();
            kept + self.operands(at).filter(|&i| self.anew(i)).count() + usize::from(counts(at))
        };
        (0..self.nodes.len()).map(live).max().unwrap_or(0)
    }

    /// The node of an operand. Other nodes may share it.
    fn shared(&mut self, expr: &Arc<Expr>, scope: &Scope<'_>, pointers: &mut Vec<Pointer>) -> Result<usize, String> {
        if let Some(&node) = self.added.get(&Arc::as_ptr(expr)) {
            return Ok(node);
        }
        let node = self.add(expr, scope, pointers)?;
        self.added.insert(Arc::as_ptr(expr), node);
        Ok(node)
    }

    fn add(&mut self, expr: &Expr, scope: &Scope<'_>, pointers: &mut Vec<Pointer>) -> Result<usize, String> {
        let node = match expr {
            Expr::Const(value) => DagNode { kind: Kind::Const(*value), rows: false, cols: false, reduced: false },
            Expr::Acc => DagNode { kind: Kind::Acc, rows: true, cols: true, reduced: false },
            Expr::Load(access) => {
                let location = scope.location(access, pointers)?;
                let reduced = scope.reduced.iter().any(|&v| access.index.coefficient(v) != 0);
                DagNode { kind: Kind::Load(location), rows: location.row != 0, cols: location.col, reduced }
            }
            Expr::Unary(UnaryOp::Recip, a) => return self.reciprocal(a, false, scope, pointers),
            Expr::Unary(UnaryOp::Rsqrt, a) => return self.reciprocal(a, true, scope, pointers),
            Expr::Unary(UnaryOp::Relu, a) => {
                let a = self.shared(a, scope, pointers)?;
                return Ok(self.relu(a));
            }
            Expr::Unary(op @ (UnaryOp::Neg | UnaryOp::Step | UnaryOp::Abs | UnaryOp::Sqrt), a) => {
                let a = self.shared(a, scope, pointers)?;
                self.applied(Kind::Unary(*op, a), &[a])
            }
            Expr::Unary(op, a) => {
                let a = self.shared(a, scope, pointers)?;
                let value = self.function(*op, a).ok_or_else(|| format!("there is no vector instruction for {op}"))?;
                return Ok(value);
            }
            Expr::Binary(op, a, b) => {
                // If both operands are products, the second one is fused and the first one is the addend. If the addend is a
                // constant that rounds on purpose, the product must be rounded before, so it is not fused.
                let rounds = |term: &Expr| matches!(term, Expr::Const(value) if rounds_on_purpose(*value));
                let sum = match (op, product(a), product(b)) {
                    (BinaryOp::Add, _, Some(factors)) if !rounds(a) => Some((factors, a)),
                    (BinaryOp::Add, Some(factors), None) if !rounds(b) => Some((factors, b)),
                    _ => None,
                };
                if let Some(((a, b), c)) = sum {
                    let c = self.shared(c, scope, pointers)?;
                    let (a, b) = (self.shared(a, scope, pointers)?, self.shared(b, scope, pointers)?);
                    self.applied(Kind::Fma(a, b, c), &[a, b, c])
                } else {
                    let a = self.shared(a, scope, pointers)?;
                    let b = self.shared(b, scope, pointers)?;
                    return Ok(match op {
                        BinaryOp::Max | BinaryOp::Min => self.extreme(*op, a, b),
                        _ => self.push(Kind::Binary(*op, a, b), &[a, b]),
                    });
                }
            }
            Expr::Guard { .. } => return Err("a value is guarded".to_owned()),
            Expr::Select { .. } => return Err("a value is selected".to_owned()),
        };
        Ok(self.number(node))
    }

    /// `max(x, 0)`, where NaN stays NaN.
    pub(super) fn relu(&mut self, x: usize) -> usize {
        let zero = self.push(Kind::Const(0.0), &[]);
        self.extreme(BinaryOp::Max, zero, x)
    }

    /// The larger or smaller of two nodes, or NaN if either is NaN.
    ///
    /// If either operand is NaN, the instruction returns its second operand. If one operand is known to be a number, it is
    /// passed first, and this is enough. Otherwise the instruction is computed in both orders. If an operand is NaN, at least
    /// one result is NaN, and the bitwise or of both results is NaN. If not, both results are equal, and so is their bitwise
    /// or.
    fn extreme(&mut self, op: BinaryOp, a: usize, b: usize) -> usize {
        let is_number = |i: usize| matches!(self.nodes[i].kind, Kind::Const(value) if !value.is_nan());
        match (is_number(a), is_number(b)) {
            (true, _) => self.push(Kind::Binary(op, a, b), &[a, b]),
            (_, true) => self.push(Kind::Binary(op, b, a), &[b, a]),
            _ => {
                let forth = self.push(Kind::Binary(op, a, b), &[a, b]);
                let back = self.push(Kind::Binary(op, b, a), &[b, a]);
                self.push(Kind::Or(forth, back), &[forth, back])
            }
        }
    }

    fn reciprocal(&mut self, a: &Arc<Expr>, root: bool, scope: &Scope<'_>, pointers: &mut Vec<Pointer>) -> Result<usize, String> {
        let mut a = self.shared(a, scope, pointers)?;
        if root {
            let node = self.applied(Kind::Unary(UnaryOp::Sqrt, a), &[a]);
            a = self.number(node);
        }
        let one = self.number(DagNode { kind: Kind::Const(1.0), rows: false, cols: false, reduced: false });
        let node = self.applied(Kind::Binary(BinaryOp::Div, one, a), &[a]);
        Ok(self.number(node))
    }

    /// Whether a value is used only once, by a node that depends on row and column in the same way. Then it is not needed after
    /// that.
    pub(super) fn only_for(&self, value: usize, user: usize) -> bool {
        let varies = |i: usize| (self.nodes[i].rows, self.nodes[i].cols, self.nodes[i].reduced);
        self.uses[value] == 1 && varies(value) == varies(user)
    }

    /// Whether constants stay in registers. If there are many, they are loaded at every use.
    fn keeps_constants(&self) -> bool {
        self.nodes.iter().filter(|node| matches!(node.kind, Kind::Const(_))).count() <= self.most_constants
    }

    /// Adds a node with these operands and returns its number.
    pub(super) fn push(&mut self, kind: Kind, operands: &[usize]) -> usize {
        let node = self.applied(kind, operands);
        self.number(node)
    }

    fn applied(&self, kind: Kind, operands: &[usize]) -> DagNode {
        let any = |f: fn(&DagNode) -> bool| operands.iter().any(|&i| f(&self.nodes[i]));
        DagNode { kind, rows: any(|n| n.rows), cols: any(|n| n.cols), reduced: any(|n| n.reduced) }
    }

    /// The number of an equal node if there is one, or of a new one.
    fn number(&mut self, node: DagNode) -> usize {
        let key = Key::of(node.kind);
        if let Some(&i) = self.numbers.get(&key) {
            return i;
        }
        for operand in operands(node.kind) {
            self.uses[operand] += 1;
        }
        self.nodes.push(node);
        self.uses.push(0);
        self.numbers.insert(key, self.nodes.len() - 1);
        self.nodes.len() - 1
    }
}

impl Scope<'_> {
    /// The location of an access, relative to a pointer that moves in the same way.
    fn location(&self, access: &Access, pointers: &mut Vec<Pointer>) -> Result<Location, String> {
        let index = &access.index;
        let col = match index.coefficient(self.cols) {
            0 => false,
            1 => true,
            stride => return Err(format!("a load has stride {stride} in the columns")),
        };
        let row = self.rows.map_or(0, |v| index.coefficient(v));
        let mut inside: Vec<Var> = self.reduced.to_vec();
        inside.push(self.cols);
        inside.extend(self.rows);
        let outer = without(index, &inside);
        let (steps, inner) = match self.update {
            Some((update, vars)) => {
                let steps: Vec<i64> = vars.iter().map(|&v| index.coefficient(v)).collect();
                let inner = steps.last().copied().unwrap_or(0);
                (steps.iter().any(|&s| s != 0).then_some((update, steps)), inner)
            }
            None => (None, 0),
        };
        let same = |p: &Pointer| {
            p.access.buffer == access.buffer
                && p.access.index.terms == outer.terms
                && (p.row, p.col) == (row, col)
                && p.steps == steps
        };
        let pointer = pointers.iter().position(same).unwrap_or_else(|| {
            let access = Access { buffer: access.buffer, index: outer.clone() };
            pointers.push(Pointer { access, row, col, steps });
            pointers.len() - 1
        });
        Ok(Location { pointer, offset: outer.offset - pointers[pointer].access.index.offset, row, inner, col })
    }
}

/// A node as a hash key. Floats are compared by their bits.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Const(u32),
    Load(Location),
    Acc,
    Unary(UnaryOp, usize),
    Binary(BinaryOp, usize, usize),
    Bits(BitsOp, usize, u32),
    Or(usize, usize),
    Fma(usize, usize, usize),
}

impl Key {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Const(value) => Key::Const(value.to_bits()),
            Kind::Load(location) => Key::Load(location),
            Kind::Acc => Key::Acc,
            Kind::Unary(op, a) => Key::Unary(op, a),
            Kind::Binary(op, a, b) => Key::Binary(op, a, b),
            Kind::Bits(op, a, constant) => Key::Bits(op, a, constant),
            Kind::Or(a, b) => Key::Or(a, b),
            Kind::Fma(a, b, c) => Key::Fma(a, b, c),
        }
    }
}

/// The operands of a node.
fn operands(kind: Kind) -> impl Iterator<Item = usize> + use<> {
    let operands = match kind {
        Kind::Const(_) | Kind::Load(_) | Kind::Acc => [None; 3],
        Kind::Unary(_, a) | Kind::Bits(_, a, _) => [Some(a), None, None],
        Kind::Binary(_, a, b) | Kind::Or(a, b) => [Some(a), Some(b), None],
        Kind::Fma(a, b, c) => [Some(a), Some(b), Some(c)],
    };
    operands.into_iter().flatten()
}

/// The factors of a product.
fn product(expr: &Expr) -> Option<(&Arc<Expr>, &Arc<Expr>)> {
    match expr {
        Expr::Binary(BinaryOp::Mul, a, b) => Some((a, b)),
        _ => None,
    }
}

/// Whether any statement loads from a buffer.
fn reads_of(stmts: &[Stmt], buffer: BufId) -> bool {
    let mut found = false;
    crate::loops::visit::accesses(stmts, &mut |access, write| found |= !write && access.buffer == buffer);
    found
}

/// Merges neighbouring loops that walk through memory like one loop. Returns the extent of each merged loop and the variable
/// with its stride.
pub(super) fn merged(loops: &[(Var, usize)], value: &Expr) -> (Vec<usize>, Vec<Var>) {
    let mut indices: Vec<Affine> = Vec::new();
    crate::loops::visit::reads(value, &mut |access| indices.push(access.index.clone()));
    let (mut trips, mut vars): (Vec<usize>, Vec<Var>) = (vec![], vec![]);
    for &(var, extent) in loops {
        if extent == 1 {
            continue;
        }
        let continues = vars
            .last()
            .is_some_and(|&outer| indices.iter().all(|index| index.coefficient(outer) == extent as i64 * index.coefficient(var)));
        match (trips.last_mut(), vars.last_mut()) {
            (Some(last), Some(outer)) if continues => {
                *last *= extent;
                *outer = var;
            }
            _ => {
                trips.push(extent);
                vars.push(var);
            }
        }
    }
    (trips, vars)
}
