//! The loop that applies rules until nothing new is found.

use super::matched::Match;
use super::rule::{Rule, Stage};
use crate::language::{EGraph, ENode, EOp, is_weight, users};
use egg::Id;
use serde::Serialize;
use sonar_ir::graph::Op;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// The applications of rules that found something new, in order; `None` if no log is kept.
pub type Log = Option<Vec<Application>>;

/// A rule, and the e-node that it was tried on.
#[derive(Clone)]
pub struct Application {
    /// The rule.
    pub rule: Rule,
    /// The operator.
    pub op: Op,
    /// Its operands, in the saturated e-graph.
    pub operands: Vec<Id>,
    /// The other classes that the rule considers, if it looks at users.
    pub siblings: Vec<Id>,
}

/// The limits of saturation. The e-graph is valid after any of them is reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// E-nodes of one segment of the graph.
    pub nodes: usize,
    /// Rounds over all e-nodes.
    pub iterations: usize,
    /// Wall-clock time of the whole graph. Each segment has a share by its size. Unused time is left to later segments.
    pub time: Duration,
}

/// Why saturation ended, the best reason first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum StopReason {
    /// No rule finds anything new.
    Saturated,
    /// [`Limits::iterations`] is reached.
    Iterations,
    /// [`Limits::nodes`] is reached.
    Nodes,
    /// [`Limits::time`] is over.
    Time,
}

/// The outcome of a saturation.
#[derive(Clone, Debug)]
pub struct Saturation {
    /// Why it ended.
    pub stop: StopReason,
    /// Rounds over all e-nodes.
    pub iterations: usize,
    /// The number of new equalities that each rule found, in the order of the given rules.
    pub fired: Vec<usize>,
}

/// Applies rules until nothing changes or a limit is reached. The e-graph is rebuilt on return.
pub fn saturate(egraph: &mut EGraph, rules: &[&Rule], limits: &Limits) -> Saturation {
    let all = |egraph: &EGraph| egraph.classes().map(|class| class.id).collect();
    saturate_with_log(egraph, rules, limits, &all, &mut None)
}

/// Like [`saturate`], but records in the log, if there is one, which rules found something new, and where. `wanted` gives the classes
/// that the cheapest graph so far computes. It is called before rules look at all users of a value: they consider only users among
/// these classes and those of earlier calls.
pub fn saturate_with_log(
    egraph: &mut EGraph,
    rules: &[&Rule],
    limits: &Limits,
    wanted: &dyn Fn(&EGraph) -> Vec<Id>,
    log: &mut Log,
) -> Saturation {
    let started = Instant::now();
    let mut fired = vec![0; rules.len()];
    let mut iterations = 0;
    let mut tried = HashSet::new();
    let (late, early): (Vec<Numbered<'_>>, Vec<Numbered<'_>>) =
        rules.iter().copied().enumerate().partition(|(_, rule)| rule.stage == Stage::Widen);
    let mut others_found_nothing = false;
    let stop = loop {
        if iterations == limits.iterations {
            break StopReason::Iterations;
        }
        iterations += 1;
        let size = egraph.total_size();
        let unions: usize = fired.iter().sum();
        let limit = if others_found_nothing {
            for class in wanted(egraph) {
                egraph[class].data.wanted = true;
            }
            // Users may have changed although operands have not.
            round(egraph, &late, limits, started, &mut fired, &mut HashSet::new(), log)
        } else {
            round(egraph, &early, limits, started, &mut fired, &mut tried, log)
        };
        egraph.rebuild();
        if let Some(limit) = limit {
            break limit;
        }
        let nothing = egraph.total_size() == size && fired.iter().sum::<usize>() == unions;
        if nothing && (others_found_nothing || late.is_empty()) {
            break StopReason::Saturated;
        }
        others_found_nothing = nothing;
    };
    Saturation { stop, iterations, fired }
}

/// A rule with its index.
type Numbered<'a> = (usize, &'a Rule);

/// Tries every rule on every e-node once, unless it was tried before. `tried` holds hashes of e-nodes and of the contents of their
/// operands' classes. Returns early with the limit that is reached.
fn round(
    egraph: &mut EGraph,
    rules: &[Numbered<'_>],
    limits: &Limits,
    started: Instant,
    fired: &mut [usize],
    tried: &mut HashSet<u64>,
    log: &mut Log,
) -> Option<StopReason> {
    let contents: HashMap<Id, u64> =
        egraph.classes().map(|class| (class.id, hash(&(&class.nodes, class.data.is_weight)))).collect();
    let mut work: Vec<(Id, ENode)> = Vec::new();
    for class in egraph.classes().filter(|class| !class.data.is_weight) {
        work.extend(class.nodes.iter().map(|node| (class.id, node.clone())));
    }
    work.sort_unstable();
    for (class, node) in work {
        let operands: Vec<Option<&u64>> = node.operands.iter().map(|&id| contents.get(&id)).collect();
        if !tried.insert(hash(&(&node, operands))) {
            continue;
        }
        let head = egraph.analysis.ops.get(node.op).clone();
        let EOp::Op(op) = &*head else { continue };
        let mut operands = node.operands.clone();
        for &(index, rule) in rules {
            let class = egraph.find(class);
            if is_weight(egraph, class) {
                break;
            }
            operands.iter_mut().for_each(|id| *id = egraph.find(*id));
            let before = fired[index];
            let siblings = if log.is_some() && rule.stage == Stage::Widen { wanted_users(egraph, &operands) } else { Vec::new() };
            for equal in rule.apply(egraph, &Match { op, operands: &operands, class }) {
                fired[index] += usize::from(egraph.union(class, equal));
            }
            if let Some(log) = log.as_mut().filter(|_| fired[index] > before) {
                log.push(Application { rule: rule.clone(), op: op.clone(), operands: operands.to_vec(), siblings });
            }
        }
        if egraph.total_size() > limits.nodes {
            return Some(StopReason::Nodes);
        }
        if started.elapsed() > limits.time {
            return Some(StopReason::Time);
        }
    }
    None
}

/// The users of some classes that are in the cheapest graph so far.
fn wanted_users(egraph: &EGraph, classes: &[Id]) -> Vec<Id> {
    let users = classes.iter().flat_map(|&class| users(egraph, class));
    let mut wanted: Vec<Id> = users.map(|(class, ..)| class).filter(|&class| egraph[class].data.wanted).collect();
    wanted.sort_unstable();
    wanted.dedup();
    wanted
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Default for Limits {
    fn default() -> Self {
        Limits { nodes: 10_000, iterations: 30, time: Duration::from_secs(2) }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StopReason::Saturated => "saturated",
            StopReason::Iterations => "iteration limit",
            StopReason::Nodes => "node limit",
            StopReason::Time => "time limit",
        })
    }
}
