//! Extraction: which e-node of each class to compute, so that the kernels together cost least.
//!
//! A shared kernel is paid for once, which makes the optimum hard to find. It is approached in five steps:
//! a greedy choice that knows the set of kernels below each class; a hill-climb that flips one choice at a time under the exact
//! cost; both again from costs that sharers bear together, and from costs that are perturbed at random; a climb from the best choice while one kernel is free of charge,
//! and on when it is not, for each kernel that could have several users; and branch and bound (`exact`), which proves the optimum of
//! small problems. All but the first choice is bounded in work and in time. Nothing recurses as deep as the graph, unless it is small.

mod exact;
mod instance;

pub use instance::{Instance, instances};

use crate::cost::{Cost, KernelShape};
use crate::language::{EGraph, ENode, Head, is_konst};
use egg::Id;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::graph::TensorType;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

/// One e-node for each class that is needed to compute some roots.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    nodes: HashMap<Id, ENode>,
}

/// How far to go, each including those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// Greedy choices.
    Greedy,
    /// Hill-climbing from them.
    Climb,
    /// Kernels free of charge, and the proof that small optima are some.
    Prove,
}

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How far to go.
    pub depth: Depth,
    /// How often to start again from perturbed costs.
    pub restarts: usize,
    /// Seeds the perturbations.
    pub seed: u64,
    /// When to stop looking for better choices.
    pub until: Option<Instant>,
}

/// Visits of classes after which nothing better is looked for: that bounds the work on large e-graphs.
const MAX_VISITS: u64 = 20_000_000;

/// Costs are raised by this much, so that every choice costs something and greedy choices cannot be cyclic.
const EPSILON: f64 = 1e-12;

/// Stands for infinite costs, so that sums of costs can still be compared.
const HUGE: f64 = 1e30;

impl Selection {
    /// A selection of these nodes.
    pub fn new(nodes: HashMap<Id, ENode>) -> Selection {
        Selection { nodes }
    }

    /// The selected nodes, in the e-graph as it is now.
    pub fn picks(&self, egraph: &EGraph) -> HashMap<Id, ENode> {
        let earlier: BTreeMap<Id, &ENode> = self.nodes.iter().map(|(&class, node)| (class, node)).collect();
        let mut picks: HashMap<Id, ENode> = HashMap::new();
        for (class, node) in earlier {
            let operands = node.operands.iter().map(|&id| egraph.find(id)).collect();
            picks.entry(egraph.find(class)).or_insert(ENode { head: node.head, operands });
        }
        picks
    }

    /// The e-node selected for a class.
    pub fn node(&self, egraph: &EGraph, class: Id) -> &ENode {
        &self.nodes[&egraph.find(class)]
    }

    /// The classes that the roots need, operands first.
    pub fn order(&self, egraph: &EGraph, roots: &[Id]) -> Vec<Id> {
        let mut order = Vec::new();
        let mut done = HashSet::new();
        let mut stack: Vec<(Id, usize)> = Vec::new();
        for &root in roots {
            stack.push((egraph.find(root), 0));
            while let Some((class, next)) = stack.pop() {
                if done.contains(&class) {
                    continue;
                }
                match self.nodes[&class].operands.get(next) {
                    Some(&operand) => {
                        stack.push((class, next + 1));
                        stack.push((egraph.find(operand), 0));
                    }
                    None => {
                        done.insert(class);
                        order.push(class);
                    }
                }
            }
        }
        order
    }
}

/// Distinct selections that compute `roots`, cheapest first; there is at least one.
/// Hill-climbing also starts from each of `starts`, which may stem from an earlier state of the e-graph.
pub(crate) fn extract(egraph: &EGraph, roots: &[Id], cost: &Cost<'_>, starts: &[Selection], effort: Effort) -> Vec<Selection> {
    let mut problem = Problem::new(egraph, roots, cost);
    problem.prune();
    problem.until = effort.until;
    let found = choices(&problem, effort, |greedy| starts.iter().map(|start| problem.adopt(egraph, start, greedy)).collect());
    let konst = smallest_konst(egraph, roots);
    found.iter().map(|(_, choice)| problem.selection(egraph, choice, &konst)).collect()
}

/// Distinct choices with their costs, cheapest first; there is at least one. `starts` is given the greedy choice.
fn choices(problem: &Problem, effort: Effort, starts: impl FnOnce(&[u32]) -> Vec<Vec<u32>>) -> Vec<(f64, Vec<u32>)> {
    let costs = problem.costs();
    let greedy = problem.greedy(&costs);
    let mut found: Vec<(f64, Vec<u32>)> = Vec::new();
    let mut keep = |mut choice: Vec<u32>| {
        let total = if effort.depth >= Depth::Climb { problem.climb(&mut choice, &[]) } else { problem.total(&choice) };
        let Some(total) = total else { return };
        let needed = problem.needed(&choice);
        if !found.iter().any(|(_, other)| needed.iter().all(|&c| other[c as usize] == choice[c as usize])) {
            found.push((total, choice));
        }
    };
    for start in starts(&greedy) {
        keep(start);
    }
    keep(greedy);
    keep(problem.greedy(&problem.divided(&costs)));
    let mut rng = StdRng::seed_from_u64(effort.seed);
    for _ in 0..effort.restarts {
        if problem.is_exhausted(0) {
            break;
        }
        let perturbed: Vec<Vec<f64>> =
            costs.iter().map(|costs| costs.iter().map(|cost| cost * rng.random_range(0.5..2.0)).collect()).collect();
        keep(problem.greedy(&perturbed));
    }
    if found.is_empty() {
        let choice = problem.by_tree_cost();
        found.push((problem.total(&choice).unwrap_or(f64::INFINITY), choice));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    if effort.depth == Depth::Prove {
        let shared = problem.shared();
        while let Some(better) = problem.with_one_for_free(&found[0], &shared) {
            found.insert(0, better);
        }
        if let Some(better) = exact::search(problem, found[0].0) {
            found.insert(0, better);
        }
    }
    found
}

/// The e-graph as extraction sees it: classes that depend on an input, numbered densely. Constant classes cost nothing and
/// do not appear.
struct Problem {
    classes: Vec<Id>,
    alternatives: Vec<Vec<Alternative>>,
    roots: Vec<u32>,
    /// Classes that were visited while looking for good choices.
    visits: Cell<u64>,
    until: Option<Instant>,
}

/// One way to compute a class.
struct Alternative {
    node: ENode,
    cost: f64,
    /// Sorted and distinct.
    operands: Vec<u32>,
}

impl Problem {
    fn new(egraph: &EGraph, roots: &[Id], cost: &Cost<'_>) -> Problem {
        let mut classes = Vec::new();
        let mut index = HashMap::new();
        let mut number = |class: Id, classes: &mut Vec<Id>| {
            let class = egraph.find(class);
            (!is_konst(egraph, class)).then(|| {
                *index.entry(class).or_insert_with(|| {
                    classes.push(class);
                    classes.len() as u32 - 1
                })
            })
        };
        let mut roots: Vec<u32> = roots.iter().filter_map(|&root| number(root, &mut classes)).collect();
        roots.sort_unstable();
        roots.dedup();
        let mut alternatives = Vec::new();
        while let Some(&class) = classes.get(alternatives.len()) {
            let me = alternatives.len() as u32;
            let mut mine: Vec<Alternative> = Vec::new();
            for node in &egraph[class].nodes {
                let mut operands: Vec<u32> = node.operands.iter().filter_map(|&id| number(id, &mut classes)).collect();
                operands.sort_unstable();
                operands.dedup();
                if operands.binary_search(&me).is_err() {
                    mine.push(Alternative { node: node.clone(), cost: node_cost(egraph, class, node, cost) + EPSILON, operands });
                }
            }
            alternatives.push(mine);
        }
        Problem { classes, alternatives, roots, visits: Cell::new(0), until: None }
    }

    /// Leaves out alternatives that no cheapest choice needs.
    fn prune(&mut self) {
        for mine in &mut self.alternatives {
            *mine = without_dominated(std::mem::take(mine));
        }
    }

    /// Counts visits, and says whether that was enough.
    fn is_exhausted(&self, visits: u64) -> bool {
        self.visits.set(self.visits.get() + visits);
        self.visits.get() > MAX_VISITS || self.until.is_some_and(|until| Instant::now() > until)
    }

    /// For each class the classes of which some alternative reads it.
    fn parents(&self) -> Vec<Vec<u32>> {
        let mut parents: Vec<Vec<u32>> = vec![Vec::new(); self.classes.len()];
        for (class, mine) in self.alternatives.iter().enumerate() {
            for &operand in mine.iter().flat_map(|alternative| &alternative.operands) {
                if parents[operand as usize].last() != Some(&(class as u32)) {
                    parents[operand as usize].push(class as u32);
                }
            }
        }
        parents
    }

    /// The classes that could have several users.
    fn shared(&self) -> Vec<u32> {
        let parents = self.parents();
        (0..self.classes.len() as u32).filter(|&class| parents[class as usize].len() > 1).collect()
    }

    /// A choice cheaper than the best so far, found by climbing as if one class, and what only it needs, cost nothing, and then
    /// on under the true costs. So several users come to share a kernel that does not pay for one of them alone.
    fn with_one_for_free(&self, (best, choice): &(f64, Vec<u32>), shared: &[u32]) -> Option<(f64, Vec<u32>)> {
        let needed: HashSet<u32> = self.needed(choice).into_iter().collect();
        for &class in shared {
            if self.is_exhausted(0) {
                return None;
            }
            let mut free = vec![false; self.classes.len()];
            let mut below = Walk::default();
            below.total(self, &[class], choice, &[], f64::INFINITY);
            for &other in below.order.iter().chain([&class]) {
                free[other as usize] = other == class || !needed.contains(&other);
            }
            let mut trial = choice.clone();
            self.climb(&mut trial, &free);
            if let Some(total) = self.climb(&mut trial, &[])
                && total < best * (1.0 - 1e-9)
            {
                return Some((total, trial));
            }
        }
        None
    }

    /// Costs of which the users of a class that take it for nothing, as a slice of it is taken, bear equal parts: by those a wide
    /// kernel is cheap for each of its users, however many have to share it before it pays.
    fn divided(&self, costs: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut takers: Vec<Vec<u32>> = vec![Vec::new(); self.classes.len()];
        for (class, mine) in self.alternatives.iter().enumerate() {
            for alternative in mine.iter().filter(|alternative| alternative.cost <= EPSILON) {
                alternative.operands.iter().for_each(|&operand| takers[operand as usize].push(class as u32));
            }
        }
        let count = |class: usize| {
            let mut seen: HashSet<u32> = HashSet::new();
            let mut stack = takers[class].clone();
            while let Some(taker) = stack.pop() {
                if seen.insert(taker) {
                    stack.extend(&takers[taker as usize]);
                }
            }
            seen.len().max(1) as f64
        };
        let parts = costs.iter().enumerate().map(|(class, mine)| {
            let count = count(class);
            mine.iter().map(|cost| cost / count).collect()
        });
        parts.collect()
    }

    fn costs(&self) -> Vec<Vec<f64>> {
        self.alternatives.iter().map(|mine| mine.iter().map(|alternative| alternative.cost).collect()).collect()
    }

    fn chosen(&self, choice: &[u32], class: u32) -> &Alternative {
        &self.alternatives[class as usize][choice[class as usize] as usize]
    }

    /// The best choice per class under `costs`, where the cost of a choice is that of the set of kernels below it.
    fn greedy(&self, costs: &[Vec<f64>]) -> Vec<u32> {
        let n = self.classes.len();
        let words = n.div_ceil(64);
        let parents = self.parents();
        let mut choice = vec![u32::MAX; n];
        let mut own = vec![0.0; n];
        let mut total = vec![0.0; n];
        let mut below: Vec<Vec<u64>> = vec![Vec::new(); n];
        let mut queue: std::collections::VecDeque<u32> = (0..n as u32).rev().collect();
        let mut queued = vec![true; n];
        let mut set = vec![0u64; words];
        while let Some(class) = queue.pop_front() {
            let c = class as usize;
            queued[c] = false;
            let mut improved = false;
            for (k, alternative) in self.alternatives[c].iter().enumerate() {
                if alternative.operands.iter().any(|&operand| choice[operand as usize] == u32::MAX) {
                    continue;
                }
                set.fill(0);
                for &operand in &alternative.operands {
                    for (word, other) in set.iter_mut().zip(&below[operand as usize]) {
                        *word |= other;
                    }
                }
                if set[c / 64] >> (c % 64) & 1 == 1 {
                    continue;
                }
                self.visits.set(self.visits.get() + words as u64);
                let sum = costs[c][k] + bits(&set).map(|member| own[member]).sum::<f64>();
                if sum < total[c] * (1.0 - 1e-9) || choice[c] == u32::MAX {
                    set[c / 64] |= 1 << (c % 64);
                    below[c].clone_from(&set);
                    (choice[c], own[c], total[c]) = (k as u32, costs[c][k], sum);
                    improved = true;
                }
            }
            if improved {
                for &parent in &parents[c] {
                    if !std::mem::replace(&mut queued[parent as usize], true) {
                        queue.push_back(parent);
                    }
                }
            }
        }
        choice.iter().map(|&k| if k == u32::MAX { 0 } else { k }).collect()
    }

    /// The best choice per class if every use is paid for. It is never cyclic.
    fn by_tree_cost(&self) -> Vec<u32> {
        let n = self.classes.len();
        let mut choice = vec![u32::MAX; n];
        let mut total = vec![0.0; n];
        loop {
            let mut improved = false;
            for c in (0..n).rev() {
                for (k, alternative) in self.alternatives[c].iter().enumerate() {
                    if alternative.operands.iter().any(|&operand| choice[operand as usize] == u32::MAX) {
                        continue;
                    }
                    let sum = alternative.cost + alternative.operands.iter().map(|&operand| total[operand as usize]).sum::<f64>();
                    if choice[c] == u32::MAX || sum < total[c] * (1.0 - 1e-9) {
                        (choice[c], total[c]) = (k as u32, sum);
                        improved = true;
                    }
                }
            }
            if !improved {
                return choice.iter().map(|&k| if k == u32::MAX { 0 } else { k }).collect();
            }
        }
    }

    /// `fallback`, except where an earlier selection says otherwise.
    fn adopt(&self, egraph: &EGraph, start: &Selection, fallback: &[u32]) -> Vec<u32> {
        let wanted = start.picks(egraph);
        let mut choice = fallback.to_vec();
        for (c, class) in self.classes.iter().enumerate() {
            let Some(node) = wanted.get(class) else { continue };
            if let Some(k) = self.alternatives[c].iter().position(|alternative| alternative.node == *node) {
                choice[c] = k as u32;
            }
        }
        choice
    }

    /// The exact cost of a choice, or nothing if it is cyclic.
    fn total(&self, choice: &[u32]) -> Option<f64> {
        self.walk(choice).map(|(total, _)| total)
    }

    fn needed(&self, choice: &[u32]) -> Vec<u32> {
        self.walk(choice).map(|(_, order)| order).unwrap_or_default()
    }

    fn walk(&self, choice: &[u32]) -> Option<(f64, Vec<u32>)> {
        let mut walk = Walk::default();
        let total = walk.total(self, &self.roots, choice, &[], f64::INFINITY)?;
        Some((total, walk.order))
    }

    /// Flips one choice at a time as long as that lowers the exact cost, which is returned; nothing if the start is cyclic.
    /// Classes that are `free` (none, if that is empty) cost nothing.
    fn climb(&self, choice: &mut [u32], free: &[bool]) -> Option<f64> {
        let mut walk = Walk::default();
        let mut best = walk.total(self, &self.roots, choice, free, f64::INFINITY)?;
        let mut order = walk.order.clone();
        let mut at = 0;
        let mut unchanged = 0;
        while unchanged < order.len() && !self.is_exhausted(std::mem::take(&mut walk.visits)) {
            let class = order[at % order.len()];
            let before = choice[class as usize];
            let mut flipped = None;
            for k in 0..self.alternatives[class as usize].len() as u32 {
                if k == before {
                    continue;
                }
                choice[class as usize] = k;
                if let Some(total) = walk.total(self, &self.roots, choice, free, best * (1.0 - 1e-9)) {
                    (best, flipped) = (total, Some(k));
                }
            }
            choice[class as usize] = flipped.unwrap_or(before);
            if flipped.is_some() {
                order = self.needed(choice);
                unchanged = 0;
            } else {
                unchanged += 1;
            }
            at += 1;
        }
        Some(best)
    }

    fn selection(&self, egraph: &EGraph, choice: &[u32], konst: &HashMap<Id, ENode>) -> Selection {
        let mut nodes = konst.clone();
        for class in self.needed(choice) {
            nodes.insert(egraph.find(self.classes[class as usize]), self.chosen(choice, class).node.clone());
        }
        Selection { nodes }
    }
}

/// A depth-first walk over the classes that a choice needs. It keeps its memory, as a climb takes thousands of walks.
#[derive(Default)]
struct Walk {
    /// For each class the last walk that came by: twice its number while the class is open, one more when it is done.
    seen: Vec<u32>,
    number: u32,
    stack: Vec<(u32, u32)>,
    /// The classes that were needed, operands first.
    order: Vec<u32>,
    /// How many classes were visited, by all walks.
    visits: u64,
}

impl Walk {
    /// The cost of what a choice needs for `roots`, if it is less than `bound` and the choice is not cyclic there.
    fn total(&mut self, problem: &Problem, roots: &[u32], choice: &[u32], free: &[bool], bound: f64) -> Option<f64> {
        let cost = |class: u32| {
            if free.get(class as usize) == Some(&true) { 0.0 } else { problem.chosen(choice, class).cost }
        };
        self.number += 1;
        let (open, done) = (2 * self.number, 2 * self.number + 1);
        self.seen.resize(problem.classes.len(), 0);
        self.order.clear();
        self.stack.clear();
        let mut total = 0.0;
        for &root in roots {
            if self.seen[root as usize] == done {
                continue;
            }
            self.seen[root as usize] = open;
            self.stack.push((root, 0));
            total += cost(root);
            self.visits += 1;
            while let Some((class, next)) = self.stack.last_mut() {
                match problem.chosen(choice, *class).operands.get(*next as usize) {
                    Some(&operand) => {
                        *next += 1;
                        let seen = &mut self.seen[operand as usize];
                        if *seen == open {
                            return None;
                        }
                        if *seen != done {
                            *seen = open;
                            self.stack.push((operand, 0));
                            total += cost(operand);
                            self.visits += 1;
                        }
                    }
                    None => {
                        self.seen[*class as usize] = done;
                        self.order.push(*class);
                        self.stack.pop();
                    }
                }
                if total >= bound {
                    return None;
                }
            }
        }
        Some(total)
    }
}

/// Leaves out alternatives that need no less than a cheaper one.
fn without_dominated(mut alternatives: Vec<Alternative>) -> Vec<Alternative> {
    alternatives.sort_by(|a, b| a.cost.total_cmp(&b.cost).then_with(|| a.operands.len().cmp(&b.operands.len())));
    let mut kept: Vec<Alternative> = Vec::new();
    for alternative in alternatives {
        let needs = |operand: &u32| alternative.operands.binary_search(operand).is_ok();
        if !kept.iter().any(|cheaper| cheaper.operands.iter().all(needs)) {
            kept.push(alternative);
        }
    }
    kept
}

/// What it costs to compute a class by one of its nodes; a leaf is free.
pub(crate) fn node_cost(egraph: &EGraph, class: Id, node: &ENode, cost: &Cost<'_>) -> f64 {
    match &**egraph.analysis.heads.get(node.head) {
        Head::Leaf(..) => 0.0,
        Head::Op(op) => {
            let operands: Vec<&TensorType> = node.operands.iter().map(|&id| &egraph[id].data.ty).collect();
            let weights: Vec<bool> = node.operands.iter().map(|&id| is_konst(egraph, id)).collect();
            let cost = cost(&KernelShape { op, operands: &operands, weights: &weights, result: &egraph[class].data.ty });
            // What a model cannot say is avoided.
            if cost < HUGE { cost.max(0.0) } else { HUGE }
        }
    }
}

/// For every constant class that the roots may need, the node of the smallest expression.
pub(crate) fn smallest_konst(egraph: &EGraph, roots: &[Id]) -> HashMap<Id, ENode> {
    let mut classes: Vec<Id> = Vec::new();
    let mut seen: HashSet<Id> = HashSet::new();
    let mut stack: Vec<Id> = roots.iter().map(|&root| egraph.find(root)).collect();
    while let Some(class) = stack.pop() {
        if seen.insert(class) {
            if is_konst(egraph, class) {
                classes.push(class);
            }
            stack.extend(egraph[class].nodes.iter().flat_map(|node| node.operands.iter().map(|&id| egraph.find(id))));
        }
    }
    classes.reverse();
    let mut best: HashMap<Id, (f64, &ENode)> = HashMap::new();
    loop {
        let mut improved = false;
        for &class in &classes {
            for node in &egraph[class].nodes {
                let sizes = node.operands.iter().map(|&id| best.get(&egraph.find(id)).map(|(size, _)| size));
                let Some(size) = sizes.sum::<Option<f64>>().map(|size| size + 1.0) else { continue };
                if best.get(&class).is_none_or(|(known, _)| size < *known) {
                    best.insert(class, (size, node));
                    improved = true;
                }
            }
        }
        if !improved {
            return best.into_iter().map(|(class, (_, node))| (class, node.clone())).collect();
        }
    }
}

fn bits(set: &[u64]) -> impl Iterator<Item = usize> {
    set.iter().enumerate().flat_map(|(w, &word)| {
        let mut rest = word;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                w * 64 + bit
            })
        })
    })
}
