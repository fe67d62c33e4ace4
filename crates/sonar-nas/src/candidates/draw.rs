//! Draws candidates from a space: assignments in random order, each function once.
//!
//! Two steps find architectures that compute the same function. Most repetitions have the same *structure* key, which is cheap
//! to compute. Only an architecture with a new structure is described, which needs rewriting. So the number of rewritings is
//! the number of distinct structures, however many assignments are drawn.

use crate::candidates::Description;
use crate::candidates::order::order;
use crate::error::EvaluateError;
use serde::{Deserialize, Serialize};
use sonar_ir::Graph;
use sonar_ir::space::Assignment;
use std::collections::HashSet;

/// The most candidates that a search draws. All of them are kept in memory.
pub const MOST: usize = 1 << 17;
/// After this many draws in a row without a new function, the space counts as exhausted.
const MISSES: usize = 1 << 12;
/// Number of assignments in a batch.
const BATCH: usize = 128;

/// The architectures of one space.
pub trait Architectures {
    /// Number of choices of each decision of the space.
    fn choices(&self) -> Vec<usize>;

    /// The hand-made architecture that the search compares with, if there is one.
    fn baseline(&self) -> Option<Assignment>;

    /// The graphs of some assignments with their structure keys, in order. An error of kind [`EvaluateError::Candidate`] means
    /// that the assignment is not a valid architecture.
    fn sketch(&self, assignments: &[Assignment]) -> Vec<Result<Sketch, EvaluateError>>;

    /// Describes architectures before they are trained or timed, in order.
    fn describe(&self, sketches: &[Sketch]) -> Vec<Result<Description, EvaluateError>>;
}

/// An architecture with its structure key, not rewritten yet.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// Its point in the space.
    pub assignment: Assignment,
    /// Architectures with equal structures compute the same function. The converse does not hold.
    pub structure: String,
    /// Its graph.
    pub graph: Graph,
}

/// Why no more candidates are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrawingEnd {
    /// As many candidates as requested were drawn.
    Enough,
    /// The space has no more distinct functions, or they are too rare to be found.
    Exhausted,
    /// The time for drawing ran out.
    TimeLimit,
    /// The number of candidates reached [`MOST`].
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

/// The result of one batch of draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// New candidates, in the order in which they were drawn.
    pub found: Vec<(Assignment, Description)>,
    /// Whether the space has no more candidates.
    pub exhausted: bool,
}

impl Drawing {
    /// Continues after `draws` draws that gave the architectures `known`.
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

    /// How many assignments were drawn, including earlier sessions.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// How many assignments were not valid architectures, and the reason for the first of them.
    pub fn invalid(&self) -> (usize, Option<&str>) {
        (self.invalid, self.first_reason.as_deref())
    }

    /// Tries the next assignments and finds at most `wanted` candidates.
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

    /// The value, or `None` for an invalid architecture, which is counted.
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
