//! Drawing candidates from a space: assignments in random order, of which every function is taken once.
//!
//! Whether two architectures are the same function is found in two steps. Most repetitions have equal *structure* keys, which are
//! cheap. Only an architecture of a new structure is described, which takes rewriting: so the number of rewritings is the number of
//! distinct structures, however many assignments are drawn.

use crate::candidates::Description;
use crate::candidates::order::order;
use crate::error::EvaluateError;
use serde::{Deserialize, Serialize};
use sonar_ir::Graph;
use sonar_ir::space::Assignment;
use std::collections::HashSet;

/// A search draws no more candidates than this, whatever it is asked for: all of them are kept in memory.
pub const MOST: usize = 1 << 17;
/// So many draws in a row without a new function show that a space has no more of them, or nearly so.
const MISSES: usize = 1 << 12;
/// Assignments that are looked at together.
const BATCH: usize = 128;

/// The architectures of one space.
pub trait Architectures {
    /// How many choices each decision of the space has.
    fn choices(&self) -> Vec<usize>;

    /// The architecture made by hand with which the search compares, if there is one.
    fn baseline(&self) -> Option<Assignment>;

    /// The graphs of some assignments with their structure keys, in order. An error of kind [`EvaluateError::Candidate`] says that an
    /// assignment is no valid architecture.
    fn sketch(&self, assignments: &[Assignment]) -> Vec<Result<Sketch, EvaluateError>>;

    /// What is known of architectures before they are trained or timed, in order.
    fn describe(&self, sketches: &[Sketch]) -> Vec<Result<Description, EvaluateError>>;
}

/// An architecture that was looked at, but not rewritten.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Its place in the space.
    pub assignment: Assignment,
    /// Architectures with equal structures are the same function. The converse does not hold.
    pub structure: String,
    /// Its graph.
    pub graph: Graph,
}

/// Why no more candidates are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrawingEnd {
    /// As many as asked for are drawn.
    Enough,
    /// The space has no more distinct functions, or they are too rare to be found.
    Exhausted,
    /// The time for drawing is over.
    TimeLimit,
    /// There are [`MOST`] of them.
    Most,
}

/// Draws candidates, batch by batch.
pub struct Drawing {
    order: Box<dyn Iterator<Item = Assignment> + Send>,
    draws: u64,
    structures: HashSet<String>,
    keys: HashSet<String>,
    misses: usize,
    invalid: usize,
    first_reason: Option<String>,
}

/// What a batch of draws has given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// New candidates, in the order in which they were drawn.
    pub found: Vec<(Assignment, Description)>,
    /// Whether the space holds no more.
    pub exhausted: bool,
}

impl Drawing {
    /// A drawing that goes on after `draws` draws, of which the architectures `known` came.
    pub fn new(
        space: &(impl Architectures + ?Sized),
        (share, seed): (f64, u64),
        draws: u64,
        known: &[(&Assignment, &Description)],
    ) -> Drawing {
        let assignments: Vec<Assignment> = known.iter().map(|(assignment, _)| (*assignment).clone()).collect();
        let sketches = space.sketch(&assignments).into_iter().flatten();
        let mut order = order(&space.choices(), space.baseline().as_ref(), share, seed);
        for _ in 0..draws {
            order.next();
        }
        Drawing {
            order,
            draws,
            structures: sketches.map(|sketch| sketch.structure).collect(),
            keys: known.iter().map(|(_, description)| description.key.clone()).collect(),
            misses: 0,
            invalid: 0,
            first_reason: None,
        }
    }

    /// How many assignments were drawn, those of earlier drawings included.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// How many assignments were no valid architectures, and why the first of them was none.
    pub fn invalid(&self) -> (usize, Option<&str>) {
        (self.invalid, self.first_reason.as_deref())
    }

    /// Looks at the next assignments; finds `wanted` candidates at most.
    pub fn batch(&mut self, space: &(impl Architectures + ?Sized), wanted: usize) -> Result<Batch, EvaluateError> {
        let assignments: Vec<Assignment> = self.order.by_ref().take(wanted.min(BATCH)).collect();
        self.draws += assignments.len() as u64;
        let mut new = Vec::new();
        for sketch in space.sketch(&assignments) {
            match self.valid(sketch)? {
                Some(sketch) if self.structures.insert(sketch.structure.clone()) => new.push(sketch),
                _ => self.misses += 1,
            }
        }
        let mut found = Vec::new();
        for (sketch, description) in new.iter().zip(space.describe(&new)) {
            match self.valid(description)? {
                Some(description) if self.keys.insert(description.key.clone()) => {
                    self.misses = 0;
                    found.push((sketch.assignment.clone(), description));
                }
                _ => self.misses += 1,
            }
        }
        Ok(Batch { found, exhausted: assignments.len() < wanted.min(BATCH) || self.misses >= MISSES })
    }

    /// The value, or nothing for what is no valid architecture, which is counted.
    fn valid<T>(&mut self, result: Result<T, EvaluateError>) -> Result<Option<T>, EvaluateError> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(EvaluateError::Candidate(reason)) => {
                self.invalid += 1;
                self.first_reason.get_or_insert(reason);
                Ok(None)
            }
            Err(fatal) => Err(fatal),
        }
    }
}
