//! The next schedule to try for one task: a pure function of its history.
//!
//! The descent is replayed: it proposes a schedule and gets the outcome from the history, until it proposes one that is not in
//! the history. The next proposal depends on the seed and on the outcomes of all earlier schedules except the last [`AHEAD`],
//! even if those are known. So the next schedule is the same whether it is prepared during a measurement or after it.

use super::descent::{Descent, Point};
use super::history::History;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sonar_ir::loops::Program;
use sonar_ir::schedule::Schedule;
use sonar_schedule::ScheduleSpace;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// Most schedules in flight. The proposer does not wait for their outcomes.
pub const AHEAD: usize = 1;
/// Number of points that the analytic model ranks for the first proposals.
const SEED_SAMPLE: usize = 32;
/// Number of first proposals besides the analytic default.
const SEEDS: usize = 3;

/// A schedule to try.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The schedule.
    pub schedule: Schedule,
    /// The scheduled program.
    pub program: Program,
}

/// Proposes schedules of a space. It only stores how far it has replayed, so a new proposer gives the same answers.
#[derive(Debug)]
pub struct Proposer {
    space: ScheduleSpace,
    seed: u64,
    /// Created for the first proposal.
    descent: Option<Descent>,
    /// The proposals of the descent, in order, each schedule once.
    asked: Vec<(Point, Schedule)>,
    seen: HashSet<Schedule>,
    /// Number of proposals whose outcomes were told to the descent.
    told: usize,
    /// Estimated cycles of points. The search asks for them repeatedly.
    estimates: RefCell<HashMap<Point, f64>>,
}

impl Proposer {
    /// A proposer for a space.
    pub fn new(space: ScheduleSpace, seed: u64) -> Self {
        Proposer { space, seed, descent: None, asked: Vec::new(), seen: HashSet::new(), told: 0, estimates: RefCell::default() }
    }

    /// The next schedule that is neither in the history nor in flight. `None` if there are no more.
    pub fn next(&mut self, history: &History, in_flight: Option<&Schedule>) -> Option<Proposal> {
        let Proposer { space, seed, descent, asked, seen, told, estimates } = self;
        let estimate = |point: &[usize]| {
            let mut known = estimates.borrow_mut();
            let cycles = known.entry(point.to_vec()).or_insert_with_key(|point| {
                let (_, program) = space.scheduled(point);
                sonar_schedule::estimate_program(&program, space.options())
            });
            Some(*cycles)
        };
        let descent = descent.get_or_insert_with(|| new_descent(space, *seed, &estimate));
        let open = |schedule: &Schedule| history.outcome(schedule).is_none() && in_flight != Some(schedule);
        loop {
            if let Some((point, schedule)) = asked.last()
                && open(schedule)
            {
                return Some(Proposal { schedule: schedule.clone(), program: space.scheduled(point).1 });
            }
            while *told + AHEAD < asked.len() {
                let (point, schedule) = &asked[*told];
                descent.tell(point, history.outcome(schedule).and_then(|outcome| outcome.time()));
                *told += 1;
            }
            let point = descent.ask(&estimate)?;
            let (schedule, program) = space.scheduled(&point);
            if seen.insert(schedule.clone()) {
                let new = open(&schedule);
                asked.push((point, schedule.clone()));
                if new {
                    return Some(Proposal { schedule, program });
                }
            }
        }
    }

    /// The space of the proposals.
    pub fn space(&self) -> &ScheduleSpace {
        &self.space
    }
}

/// A search that starts with the analytic default and the most promising points of a random sample.
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

#[cfg(test)]
mod tests {
    use super::super::history::Event;
    use super::*;
    use sonar_measure::{FakeClock, FakeMeasurer, Outcome};

    fn space() -> ScheduleSpace {
        let text = "graph @product(%x: f32[24,32], param %v: f32[32,40]) {\n  %0 = matmul %x, %v : f32[24,40]\n  return %0\n}\n";
        let graph = sonar_ir::text::parse_graph(text).expect("it is well-formed");
        let task = sonar_schedule::tasks(&graph).expect("it lowers").tasks[sonar_schedule::TaskId(0)].clone();
        sonar_schedule::space(&task, &sonar_schedule::Options::new(8))
    }

    fn tried(schedule: &Schedule) -> Event {
        let time = FakeMeasurer::new(1, FakeClock::default()).time("task", schedule);
        Event::Tried { schedule: schedule.clone(), outcome: Outcome::Ok(vec![time]), seconds: 1.0 }
    }

    #[test]
    fn what_comes_next_is_a_function_of_the_history_alone() {
        let mut history = History::default();
        let mut kept = Proposer::new(space(), 7);
        for trial in 0..60 {
            let proposal = kept.next(&history, None).expect("there are more");
            assert_eq!(kept.next(&history, None).as_ref(), Some(&proposal), "asking changes nothing");
            if trial % 10 == 0 {
                let replayed = Proposer::new(space(), 7).next(&history, None);
                assert_eq!(replayed.as_ref(), Some(&proposal), "a new one says the same after {trial} trials");
            }
            history.apply(tried(&proposal.schedule));
        }
        assert_ne!(Proposer::new(space(), 8).next(&history, None), kept.next(&history, None));
    }

    #[test]
    fn the_next_one_is_the_same_while_one_is_in_flight() {
        let mut history = History::default();
        let (mut early, mut late) = (Proposer::new(space(), 7), Proposer::new(space(), 7));
        let mut proposal = early.next(&history, None).expect("there is one");
        for _ in 0..40 {
            let prepared = early.next(&history, Some(&proposal.schedule)).expect("there are more");
            history.apply(tried(&proposal.schedule));
            assert_eq!(late.next(&history, None).as_ref(), Some(&prepared));
            proposal = prepared;
        }
    }
}
