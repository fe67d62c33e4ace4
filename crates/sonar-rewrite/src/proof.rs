//! Proofs: which rules, applied where, make a rewritten graph equal to the original one.
//!
//! A saturation that keeps a [`Log`] writes down every rule that found something new. A proof is a part of that log that
//! suffices, and it is checked without the e-graph it stems from:
//! 1. in a fresh e-graph that holds the original graph and nothing else, the steps are applied one by one, each with its rule
//!    and at its place alone; in the end the rewritten graph must be equal to the original one;
//! 2. both sides of each step, and both graphs, are run on random values in double precision, which must agree.
//!
//! Steps without which the first still holds are left out. What the saturation itself found is no part of the argument, and the
//! graph that is proven is the one that is chosen when nobody asks for a proof: keeping a log changes nothing else.

use crate::RewriteError;
use crate::convert::import_all;
use crate::language::{Analysis, EGraph, ENode, Head, add, is_konst, is_sum};
use crate::rules::{Match, Rule, Soundness};
use crate::sums::{sum, with_operands};
use egg::Id;
use sonar_ir::graph::{Graph, NodeId, Op};
use sonar_ir::scalar::BinaryOp;
use sonar_ir::{init, interp};
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// The applications of rules that found something new, in order; nothing if nobody wants them.
pub type Log = Option<Vec<Application>>;

/// A rule, and the e-node that it was tried on.
#[derive(Clone)]
pub struct Application {
    /// The rule.
    pub rule: Rule,
    /// The operator.
    pub op: Op,
    /// Its operands, in the e-graph that was saturated.
    pub operands: Vec<Id>,
    /// The classes that the rule considers beside it, if it is one that looks at users.
    pub siblings: Vec<Id>,
}

/// What is to be proven.
pub struct Claim<'a> {
    /// What the graph is part of, for people.
    pub title: &'a str,
    /// The original graph.
    pub source: &'a Graph,
    /// The rewritten one, with inputs and parameters of the same names.
    pub target: &'a Graph,
    /// The e-graph that the log is about.
    pub egraph: &'a EGraph,
    /// What the inputs and parameters are called outside.
    pub names: &'a dyn Fn(&str) -> String,
}

/// By how much numbers in double precision may differ, as a share of the largest.
const ROUNDING: f64 = 1e-9;
/// The same where constants of a formula are rounded.
const ROUNDED_CONSTANTS: f64 = 2e-5;

/// How often the whole log is tried.
const MAX_ROUNDS: usize = 4;

/// One step of a proof: an application, and which of the classes it finds equal is meant, if not all are.
#[derive(Clone, Copy)]
struct Step<'a> {
    application: &'a Application,
    only: Option<usize>,
}

/// A fresh e-graph after some steps.
struct Replay {
    egraph: EGraph,
    /// The classes of the original graph's nodes.
    classes: Vec<Id>,
    /// Both sides of each step: the e-node, and what equals it.
    sides: Vec<(ENode, Vec<Id>)>,
}

/// Proves a claim from what was logged: the proof as text, and the number of its steps.
pub fn prove(claim: &Claim<'_>, log: &[Application]) -> Result<(String, usize), RewriteError> {
    let logged: Vec<Step<'_>> = log.iter().map(|application| Step { application, only: None }).collect();
    // Where a rule takes the first of several nodes that fit, a replay may take another: what a step then misses is found when it
    // is tried again after the others.
    let again = (1..=MAX_ROUNDS).map(|rounds| logged.repeat(rounds)).find(|steps| proves(claim, steps));
    let Some(all) = again else {
        return Err(RewriteError::Unproven(format!("{}: the steps that were logged do not suffice", claim.title)));
    };
    let steps = narrowed(claim, shortest(claim, all));
    let replay = replay(claim, &steps);
    let text = show(claim, &steps, &replay)?;
    Ok((text, steps.len()))
}

/// Some of the steps that still prove the claim, and of which none can be left out.
fn shortest<'a>(claim: &Claim<'_>, mut steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    let mut size = steps.len().next_power_of_two();
    while size > 0 {
        let mut end = steps.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let fewer = [&steps[..start], &steps[end..]].concat();
            if proves(claim, &fewer) {
                steps = fewer;
            }
            end = start;
        }
        size /= 2;
    }
    steps
}

/// The same steps, of whose results only one is taken where that suffices.
fn narrowed<'a>(claim: &Claim<'_>, mut steps: Vec<Step<'a>>) -> Vec<Step<'a>> {
    for i in 0..steps.len() {
        let found = replay(claim, &steps).sides[i].1.len();
        for k in 0..found {
            steps[i].only = Some(k);
            if found == 1 || proves(claim, &steps) {
                break;
            }
            steps[i].only = None;
        }
    }
    steps
}

/// Whether the steps make the rewritten graph equal to the original one.
fn proves(claim: &Claim<'_>, steps: &[Step<'_>]) -> bool {
    let Replay { mut egraph, classes, .. } = replay(claim, steps);
    let mut found: Vec<Id> = Vec::new();
    for node in &claim.target.nodes {
        let operands: Vec<Id> = node.operands.iter().map(|operand| found[operand.0 as usize]).collect();
        found.push(match &node.op {
            Op::Input | Op::Param(_) => {
                let Some(leaf) = claim.source.nodes.iter().position(|leaf| leaf.name == node.name) else { return false };
                classes[leaf]
            }
            Op::Binary(BinaryOp::Add) => sum(&mut egraph, &operands, &node.ty),
            op => place(&mut egraph, op, &operands),
        });
    }
    egraph.rebuild();
    let outputs = claim.source.outputs.iter().zip(&claim.target.outputs);
    claim.source.outputs.len() == claim.target.outputs.len()
        && outputs.into_iter().all(|(a, b)| egraph.find(classes[a.0 as usize]) == egraph.find(found[b.0 as usize]))
}

/// Applies the steps, and nothing else, to the original graph.
fn replay(claim: &Claim<'_>, steps: &[Step<'_>]) -> Replay {
    let mut egraph = EGraph::new(Analysis::default());
    let classes = import_all(&mut egraph, claim.source);
    let mut known: HashMap<Id, Id> = HashMap::new();
    let mut sides = Vec::new();
    for Step { application: Application { rule, op, operands, siblings }, only } in steps {
        for &sibling in siblings {
            let class = translate(claim.egraph, sibling, &mut egraph, &classes, &mut known);
            egraph[class].data.wanted = true;
        }
        let operands: Vec<Id> =
            operands.iter().map(|&id| translate(claim.egraph, id, &mut egraph, &classes, &mut known)).collect();
        let class = place(&mut egraph, op, &operands);
        let mut operands: Vec<Id> = operands.iter().map(|&id| egraph.find(id)).collect();
        if is_sum(op) {
            operands.sort_unstable();
        }
        let before = ENode { head: egraph.analysis.heads.intern(op.clone()), operands: operands.clone().into() };
        let mut equal = Vec::new();
        if !is_konst(&egraph, class) {
            equal = rule.apply(&mut egraph, &Match { op, operands: &operands, class });
        }
        for (_, &id) in equal.iter().enumerate().filter(|(k, _)| only.is_none_or(|only| only == *k)) {
            egraph.union(class, id);
        }
        egraph.rebuild();
        sides.push((before, equal));
    }
    Replay { egraph, classes, sides }
}

/// The class, in a replay, of what a class stood for first in the e-graph that was saturated.
fn translate(from: &EGraph, id: Id, into: &mut EGraph, leaves: &[Id], known: &mut HashMap<Id, Id>) -> Id {
    let mut stack = vec![id];
    while let Some(&id) = stack.last() {
        let node = from.id_to_node(id);
        let unknown: Vec<Id> = node.operands.iter().copied().filter(|operand| !known.contains_key(operand)).collect();
        if known.contains_key(&id) || unknown.is_empty() {
            stack.pop();
            let class = match &**from.analysis.heads.get(node.head) {
                Head::Leaf(leaf, ..) => leaves[leaf.0 as usize],
                Head::Op(op) => place(into, op, &node.operands.iter().map(|operand| known[operand]).collect::<Vec<Id>>()),
            };
            known.entry(id).or_insert(class);
        } else {
            stack.extend(unknown);
        }
    }
    known[&id]
}

/// The class of an operator applied to classes. The terms of sums and kernels may be in another order there.
fn place(egraph: &mut EGraph, op: &Op, operands: &[Id]) -> Id {
    let mut operands: Vec<Id> = operands.iter().map(|&id| egraph.find(id)).collect();
    if is_sum(op) {
        operands.sort_unstable();
    } else if let Some(wanted) = terms(egraph, op, &operands) {
        for class in egraph.classes() {
            for node in &class.nodes {
                if let Head::Op(other) = &**egraph.analysis.heads.get(node.head)
                    && terms(egraph, other, &node.operands).is_some_and(|terms| terms == wanted)
                {
                    return class.id;
                }
            }
        }
    }
    add(egraph, op.clone(), &operands)
}

/// A term of a kernel, as text, and its operands.
type Placed = (String, Vec<Id>);

/// The terms of a kernel with their operands, sorted, and whether its result is activated.
fn terms(egraph: &EGraph, op: &Op, operands: &[Id]) -> Option<(bool, Vec<Placed>)> {
    let Op::FusedSum { terms, relu } = op else { return None };
    let found = |ids: &[Id]| ids.iter().map(|&id| egraph.find(id)).collect();
    let mut terms: Vec<Placed> = with_operands(terms, operands).map(|(term, ids)| (format!("{term:?}"), found(ids))).collect();
    terms.sort();
    Some((*relu, terms))
}

/// The proof as text, after both sides of each step were compared on random values.
fn show(claim: &Claim<'_>, steps: &[Step<'_>], replay: &Replay) -> Result<String, RewriteError> {
    let mut terms = Terms::new(claim);
    let mut equations: Vec<(NodeId, Vec<NodeId>)> = Vec::new();
    for (step, (before, equal)) in steps.iter().zip(&replay.sides) {
        let wanted = equal.iter().enumerate().filter(|(k, _)| step.only.is_none_or(|only| only == *k));
        let before = terms.node(&replay.egraph, before)?;
        let equal = wanted.map(|(_, &id)| terms.class(&replay.egraph, id)).collect::<Result<_, _>>()?;
        equations.push((before, equal));
    }
    compare(claim, steps, &terms.graph, &equations)?;

    let lines = terms.lines();
    let mut shown: HashSet<NodeId> = HashSet::new();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}: {} steps", claim.title, steps.len());
    for (i, (step, (before, equal))) in steps.iter().zip(&equations).enumerate() {
        let rule = &step.application.rule;
        let _ = writeln!(text, "  {}. {} ({}): {}", i + 1, rule.name, rule.class, rule.text);
        for (sign, &id) in [("  ", before)].into_iter().chain(equal.iter().map(|id| ("= ", id))) {
            for inner in terms.below(id).into_iter().filter(|&inner| inner != id) {
                if shown.insert(inner) {
                    let _ = writeln!(text, "       let {}", lines[&inner]);
                }
            }
            let line = lines.get(&id).cloned().unwrap_or_else(|| terms.name(id));
            // A line names its value, which is of interest only once it is known.
            let line = if shown.contains(&id) { terms.name(id) } else { line };
            shown.insert(id);
            let _ = writeln!(text, "     {sign}{line}");
        }
    }
    Ok(text)
}

/// Runs both sides of each step, and both graphs, on the same random values.
fn compare(
    claim: &Claim<'_>,
    steps: &[Step<'_>],
    graph: &Graph,
    equations: &[(NodeId, Vec<NodeId>)],
) -> Result<(), RewriteError> {
    let failed = |what: String| RewriteError::Unproven(format!("{}: {what}", claim.title));
    let run = |graph: &Graph| {
        let graph = graph.specialise(2);
        let mut values = init::randomise(&graph, 0);
        values.extend(init::inputs(&graph, 0));
        interp::run_unrounded(&graph, &values).map_err(|error| failed(error.to_string()))
    };
    let mut all = graph.clone();
    all.outputs = equations.iter().flat_map(|(before, equal)| [before].into_iter().chain(equal)).copied().collect();
    let mut values = run(&all)?.into_iter();
    for (step, (_, equal)) in steps.iter().zip(equations) {
        let before = values.next().unwrap_or_default();
        for after in values.by_ref().take(equal.len()) {
            if !close(&before, &after, tolerance([step])) {
                return Err(failed(format!("both sides of a step by `{}` differ on random values", step.application.rule.name)));
            }
        }
    }
    let named = |graph: &Graph| {
        let mut graph = graph.clone();
        for node in graph.nodes.iter_mut().filter(|node| matches!(node.op, Op::Input | Op::Param(_))) {
            node.name = node.name.as_deref().map(claim.names);
        }
        graph
    };
    let (source, target) = (run(&named(claim.source))?, run(&named(claim.target))?);
    match source.iter().zip(&target).all(|(a, b)| close(a, b, tolerance(steps))) {
        true => Ok(()),
        false => Err(failed("the two graphs differ on random values".to_string())),
    }
}

/// By how much numbers may differ after some steps, as a share of the largest.
fn tolerance<'a>(steps: impl IntoIterator<Item = &'a Step<'a>>) -> f64 {
    let mut steps = steps.into_iter();
    if steps.any(|step| step.application.rule.class == Soundness::Near) { ROUNDED_CONSTANTS } else { ROUNDING }
}

fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    let largest = a.iter().chain(b).filter(|v| v.is_finite()).fold(0.0f64, |most, v| most.max(v.abs()));
    let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * largest;
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// Terms of a replay as one graph, in which equal ones are shared.
struct Terms {
    graph: Graph,
    /// The inputs and parameters, by the nodes of the original graph.
    leaves: HashMap<NodeId, NodeId>,
    known: HashMap<Id, NodeId>,
}

impl Terms {
    fn new(claim: &Claim<'_>) -> Terms {
        let mut graph = Graph::new("terms");
        let mut leaves = HashMap::new();
        for (id, node) in claim.source.iter() {
            let name = (claim.names)(node.name.as_deref().unwrap_or_default());
            let leaf = match node.op {
                Op::Input => graph.input(name, node.ty.clone()),
                Op::Param(init) => graph.param(name, &node.ty.extents().unwrap_or_default(), init),
                _ => continue,
            };
            leaves.insert(id, leaf);
        }
        Terms { graph, leaves, known: HashMap::new() }
    }

    /// What a class stood for first.
    fn class(&mut self, egraph: &EGraph, id: Id) -> Result<NodeId, RewriteError> {
        let mut stack = vec![id];
        while let Some(&id) = stack.last() {
            let node = egraph.id_to_node(id);
            let unknown: Vec<Id> = node.operands.iter().copied().filter(|operand| !self.known.contains_key(operand)).collect();
            if self.known.contains_key(&id) || unknown.is_empty() {
                stack.pop();
                if !self.known.contains_key(&id) {
                    let term = self.push(egraph, node)?;
                    self.known.insert(id, term);
                }
            } else {
                stack.extend(unknown);
            }
        }
        Ok(self.known[&id])
    }

    fn node(&mut self, egraph: &EGraph, node: &ENode) -> Result<NodeId, RewriteError> {
        for &operand in &node.operands {
            self.class(egraph, operand)?;
        }
        self.push(egraph, node)
    }

    /// An e-node whose operands are known.
    fn push(&mut self, egraph: &EGraph, node: &ENode) -> Result<NodeId, RewriteError> {
        let operands: Vec<NodeId> = node.operands.iter().map(|operand| self.known[operand]).collect();
        match &**egraph.analysis.heads.get(node.head) {
            Head::Leaf(leaf, ..) => Ok(self.leaves[leaf]),
            Head::Op(op) => {
                let same = self.graph.iter().find(|(_, other)| other.op == *op && other.operands == operands);
                match same.map(|(id, _)| id) {
                    Some(id) => Ok(id),
                    None => Ok(self.graph.push(op.clone(), &operands)?),
                }
            }
        }
    }

    /// A term and all that it is made of, operands first, without inputs and parameters.
    fn below(&self, root: NodeId) -> Vec<NodeId> {
        let mut needed: HashSet<NodeId> = HashSet::from([root]);
        for (id, node) in self.graph.iter().rev() {
            if needed.contains(&id) {
                needed.extend(&node.operands);
            }
        }
        let mut below: Vec<NodeId> = needed.into_iter().filter(|id| id.0 as usize >= self.leaves.len()).collect();
        below.sort_unstable();
        below
    }

    fn name(&self, id: NodeId) -> String {
        self.graph.node(id).name.as_ref().map_or(id.to_string(), |name| format!("%{name}"))
    }

    /// The line of the text form for each term.
    fn lines(&self) -> HashMap<NodeId, String> {
        let text = self.graph.to_string();
        let all: Vec<&str> = text.lines().collect();
        let terms = self.graph.nodes.len() - self.leaves.len();
        // Terms are the last lines but two: the graph ends with `return` and a brace.
        let body = &all[all.len() - 2 - terms..];
        (self.leaves.len()..).map(|i| NodeId(i as u32)).zip(body.iter().map(|line| line.trim().to_string())).take(terms).collect()
    }
}
