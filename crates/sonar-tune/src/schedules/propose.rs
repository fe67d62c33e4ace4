//! The schedules to try for one task, one after the other.
//!
//! What comes next depends on the seed and on the times that were told, and on nothing else: a proposal is made from the results of
//! all proposals before it but the last [`AHEAD`], whether more of them are known or not. So the next one may be prepared while
//! one is measured, or after it, and is the same.

use crate::schedules::descent::{Descent, Point};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::loops::Program;
use sonar_schedule::ScheduleSpace;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};

/// Proposals whose results are not waited for.
pub const AHEAD: usize = 1;
/// Points that the analytic model ranks for the first proposals.
const SEED_SAMPLE: usize = 32;
/// First proposals beside the analytic default.
const SEEDS: usize = 3;

/// A schedule to try.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Its text, which no proposal before had.
    pub schedule: String,
    /// The program that it gives.
    pub program: Program,
}

/// The proposals for one task.
#[derive(Debug)]
pub struct Proposals {
    space: ScheduleSpace,
    seed: u64,
    /// Made when the first proposal is due.
    descent: Option<Descent>,
    seen: HashSet<String>,
    waiting: VecDeque<Waiting>,
    returned: Option<Proposal>,
    /// Cycles of points by the analytic model, which are asked for again and again.
    estimates: RefCell<HashMap<Point, f64>>,
}

/// A proposal whose result the search does not know yet.
#[derive(Debug)]
struct Waiting {
    point: Point,
    schedule: String,
    time: Option<f64>,
}

impl Proposals {
    /// Schedules of a space.
    pub fn new(space: ScheduleSpace, seed: u64) -> Self {
        Proposals {
            space,
            seed,
            descent: None,
            seen: HashSet::new(),
            waiting: VecDeque::new(),
            returned: None,
            estimates: RefCell::default(),
        }
    }

    /// The next schedule; nothing if there is none left. The results of all before the last [`AHEAD`] must have been told: one that
    /// was not counts as a failure.
    pub fn propose(&mut self) -> Option<Proposal> {
        if let Some(proposal) = self.returned.take() {
            return Some(proposal);
        }
        let Proposals { space, seed, estimates, descent, waiting, .. } = self;
        let estimate = |point: &[usize]| {
            let mut known = estimates.borrow_mut();
            let cycles = known.entry(point.to_vec()).or_insert_with_key(|point| {
                let (_, program) = space.scheduled(point);
                sonar_schedule::estimate_program(&program, space.options())
            });
            Some(*cycles)
        };
        let descent = descent.get_or_insert_with(|| new_descent(space, *seed, &estimate));
        while waiting.len() > AHEAD {
            if let Some(Waiting { point, time, .. }) = waiting.pop_front() {
                descent.tell(&point, time);
            }
        }
        loop {
            let point = descent.ask(&estimate)?;
            let (schedule, program) = space.scheduled(&point);
            let schedule = schedule.to_string();
            if self.seen.insert(schedule.clone()) {
                waiting.push_back(Waiting { point, schedule: schedule.clone(), time: None });
                return Some(Proposal { schedule, program });
            }
        }
    }

    /// Takes the time of a proposal, or that it has none.
    pub fn tell(&mut self, schedule: &str, time: Option<f64>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.schedule == schedule) {
            waiting.time = time;
        }
    }

    /// Gives a proposal back that was not tried: it is the next one again.
    pub fn give_back(&mut self, proposal: Proposal) {
        self.returned = Some(proposal);
    }

    /// The space that the proposals are from.
    pub fn space(&self) -> &ScheduleSpace {
        &self.space
    }
}

/// A search that begins with the analytic default and the most promising of a random sample.
fn new_descent(space: &ScheduleSpace, seed: u64, estimate: &dyn Fn(&[usize]) -> Option<f64>) -> Descent {
    let mut rng = StdRng::seed_from_u64(seed);
    let sample = (0..SEED_SAMPLE).map(|_| space.point(rng.random_range(0..space.len().max(1))));
    let mut ranked: Vec<(f64, Point)> = sample.filter_map(|point| Some((estimate(&point)?, point))).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.dedup();
    let default = sonar_schedule::default_point(space);
    let seeds = std::iter::once(default).chain(ranked.into_iter().take(SEEDS).map(|(_, point)| point));
    Descent::new(space.knobs().iter().map(|knob| knob.choices.len()).collect(), seeds, seed)
}
