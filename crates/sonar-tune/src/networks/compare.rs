//! Which of the graphs that a network can be rewritten to is the fastest: they run against one another, end to end.

use super::latency::{GoOn, ModelMeasurer};
use crate::compile::{CompileOptions, Lowered, plan};
use crate::error::TuneError;
use sonar_ir::machine::is_gain;
use sonar_measure::{Budget, Clock, stats};
use std::ops::ControlFlow;
use std::time::Duration;

/// Timing of one comparison.
const BUDGET: Budget = Budget { samples: 40, seconds: 0.25 };

/// A graph of a network with its time.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// The graph.
    pub lowered: Lowered,
    /// Nanoseconds of one run, from its last comparison, in order of measurement.
    pub samples: Vec<f64>,
    /// Its time over that of the fastest.
    ratio: f64,
}

/// Runs candidates of one network against one another, with the best schedules that the options know, and returns them in the
/// order of their speed. A candidate must be clearly faster than an earlier one to come before it. Candidates whose turn has not
/// come after `time` are left out; the first one never is.
pub fn fastest<M: ModelMeasurer>(
    candidates: Vec<Lowered>,
    options: &CompileOptions<'_>,
    models: &mut M,
    clock: &dyn Clock,
    time: Duration,
    go_on: &mut GoOn<'_>,
) -> Result<Vec<Ranked>, TuneError> {
    let start = clock.now();
    let mut candidates = candidates.into_iter();
    let Some(first) = candidates.next() else { return Ok(Vec::new()) };
    let load = |models: &mut M, lowered: &Lowered| models.load(plan(lowered.clone(), options)?, options);
    // Two models are in memory at a time.
    let mut running = load(models, &first)?;
    let mut best = Ranked { lowered: first, ratio: 1.0, samples: Vec::new() };
    let mut others: Vec<Ranked> = Vec::new();
    if candidates.len() == 0 {
        best.samples = models.compare(std::slice::from_mut(&mut running), BUDGET, go_on)?.swap_remove(0);
    }
    for lowered in candidates {
        if clock.now().saturating_sub(start) >= time && !best.samples.is_empty() {
            break;
        }
        let mut pair = [running, load(models, &lowered)?];
        let mut samples = models.compare(&mut pair, BUDGET, go_on)?.into_iter();
        if go_on() == ControlFlow::Break(()) {
            return Err(TuneError::Interrupted);
        }
        let [incumbent, challenger] = pair;
        (best.samples, running) = (samples.next().unwrap_or_default(), incumbent);
        let mut new = Ranked { lowered, ratio: 1.0, samples: samples.next().unwrap_or_default() };
        new.ratio = stats::median(&new.samples) / stats::median(&best.samples);
        if is_gain(new.ratio, 1.0) {
            others.iter_mut().for_each(|other| other.ratio /= new.ratio);
            best.ratio = 1.0 / new.ratio;
            new.ratio = 1.0;
            others.push(std::mem::replace(&mut best, new));
            running = challenger;
        } else {
            others.push(new);
        }
    }
    others.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    Ok(std::iter::once(best).chain(others).collect())
}
