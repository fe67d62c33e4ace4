//! The history of a task: a fold of its trials and of the verdicts on its schedules.

use super::failures::Failures;
use sonar_ir::machine::is_gain;
use sonar_ir::schedule::Schedule;
use sonar_measure::records::{Contender, Setting};
use sonar_measure::{Outcome, stats};
use std::collections::{HashMap, HashSet};

/// Number of schedules of a task that are compared with each other at the end.
const FINALISTS: usize = 4;

/// An event of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A schedule was timed alone.
    Tried {
        /// The schedule.
        schedule: Schedule,
        /// The outcome.
        outcome: Outcome,
        /// What the measurement cost, in seconds.
        seconds: f64,
    },
    /// Schedules were compared with each other.
    Judged {
        /// The setting of the comparison.
        setting: Setting,
        /// The schedules, the best first.
        contenders: Vec<Contender>,
        /// What the comparison cost, in seconds.
        seconds: f64,
    },
}

/// All events of a task so far. The same events give the same history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The first outcome of every schedule that was tried.
    tried: HashMap<Schedule, Outcome>,
    /// Schedules that could be timed once and failed later.
    unsound: HashSet<Schedule>,
    best: Option<Best>,
    /// Whether there are trials since the last verdict.
    unjudged: bool,
    /// The fastest time of a trial, and the number of trials since the last clear improvement.
    fastest: Option<f64>,
    without_gain: usize,
    seconds: f64,
    curve: Vec<Step>,
}

/// The best schedule of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The schedule.
    pub schedule: Schedule,
    /// Nanoseconds of one call.
    pub nanoseconds: f64,
    /// Whether it won a comparison. If so, only another comparison can replace it.
    judged: bool,
}

/// The state of a task after an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Trials so far.
    pub trials: usize,
    /// Time of the best schedule in nanoseconds, if there is one.
    pub best: Option<f64>,
    /// Seconds of measuring so far.
    pub seconds: f64,
}

impl History {
    /// Adds an event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Tried { schedule, outcome, seconds } => {
                self.seconds += seconds;
                self.try_out(schedule, outcome);
            }
            Event::Judged { contenders, seconds, .. } => {
                self.seconds += seconds;
                self.unjudged = false;
                if let Some(Contender { schedule, samples }) = contenders.into_iter().next() {
                    self.best = Some(Best { schedule, nanoseconds: stats::median(&samples), judged: true });
                }
            }
        }
        self.curve.push(self.now());
    }

    fn try_out(&mut self, schedule: Schedule, outcome: Outcome) {
        if self.tried.contains_key(&schedule) {
            if outcome.samples().is_none() {
                self.unsound.insert(schedule);
            }
            return;
        }
        let time = outcome.time();
        let gain = time.is_some_and(|time| self.fastest.is_none_or(|fastest| is_gain(time, fastest)));
        self.without_gain = if gain { 0 } else { self.without_gain + 1 };
        if gain {
            self.fastest = time;
        }
        if let Some(nanoseconds) = time {
            self.unjudged = true;
            if self.best.as_ref().is_none_or(|best| !best.judged && is_gain(nanoseconds, best.nanoseconds)) {
                self.best = Some(Best { schedule: schedule.clone(), nanoseconds, judged: false });
            }
        }
        self.tried.insert(schedule, outcome);
    }

    /// Number of schedules tried.
    pub fn trials(&self) -> usize {
        self.tried.len()
    }

    /// The outcome of a schedule, if it was tried.
    pub fn outcome(&self, schedule: &Schedule) -> Option<&Outcome> {
        self.tried.get(schedule)
    }

    /// The best schedule so far.
    pub fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }

    /// The fastest time of a trial, in nanoseconds.
    pub fn fastest(&self) -> Option<f64> {
        self.fastest
    }

    /// Number of trials in a row that were not clearly faster than all before them.
    pub fn without_gain(&self) -> usize {
        self.without_gain
    }

    /// Whether there are trials since the last verdict.
    pub fn is_unjudged(&self) -> bool {
        self.unjudged
    }

    /// Why trials failed.
    pub fn failures(&self) -> Failures {
        let causes = self.tried.values().filter_map(|outcome| match outcome {
            Outcome::Failed(cause) => Some(cause),
            Outcome::Ok(_) | Outcome::Dropped(_) => None,
        });
        causes.collect()
    }

    /// The current state.
    pub fn now(&self) -> Step {
        Step { trials: self.trials(), best: self.best.as_ref().map(|best| best.nanoseconds), seconds: self.seconds }
    }

    /// The state after each event.
    pub fn curve(&self) -> &[Step] {
        &self.curve
    }

    /// The schedules to compare with each other: the fastest ones, the best so far, and the analytic `default`, if these could
    /// be timed.
    pub fn finalists(&self, default: &Schedule) -> Vec<Schedule> {
        let sound = |schedule: &Schedule| !self.unsound.contains(schedule);
        let timed = self.tried.iter().filter_map(|(schedule, outcome)| Some((outcome.time()?, schedule)));
        let mut timed: Vec<(f64, String, &Schedule)> = timed
            .filter(|(_, schedule)| sound(schedule))
            .map(|(time, schedule)| (time, schedule.to_string(), schedule))
            .collect();
        timed.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let mut finalists: Vec<Schedule> = timed.into_iter().take(FINALISTS).map(|(_, _, schedule)| schedule.clone()).collect();

        let default_timed = self.tried.get(default).is_some_and(|outcome| outcome.samples().is_some()) && sound(default);
        let others = self.best.iter().map(|best| &best.schedule).filter(|schedule| sound(schedule));
        for schedule in others.chain(default_timed.then_some(default)) {
            if !finalists.contains(schedule) {
                finalists.push(schedule.clone());
            }
        }
        finalists
    }

    /// The approximate number of finalists.
    pub fn count_of_finalists(&self) -> usize {
        (FINALISTS + 1).min(self.trials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonar_measure::Cause;

    fn schedule(text: &str) -> Schedule {
        text.parse().expect("it is well-formed")
    }

    fn tried(text: &str, time: f64) -> Event {
        Event::Tried { schedule: schedule(text), outcome: Outcome::Ok(vec![time]), seconds: 1.0 }
    }

    fn judged(text: &str, time: f64) -> Event {
        let contenders = vec![Contender { schedule: schedule(text), samples: vec![time] }];
        Event::Judged { setting: Setting::Alone, contenders, seconds: 2.0 }
    }

    fn history(events: &[Event]) -> History {
        let mut history = History::default();
        events.iter().cloned().for_each(|event| history.apply(event));
        history
    }

    fn best(history: &History) -> Option<(String, f64)> {
        history.best().map(|best| (best.schedule.to_string().trim().to_owned(), best.nanoseconds))
    }

    #[test]
    fn only_a_comparison_replaces_the_winner_of_one() {
        let mut history = history(&[tried("unroll a", 100.0), tried("unroll b", 99.5), tried("unroll c", 90.0)]);
        assert_eq!(best(&history), Some(("unroll c".into(), 90.0)));
        assert!(history.is_unjudged());
        history.apply(judged("unroll a", 95.0));
        assert!(!history.is_unjudged());
        history.apply(tried("unroll d", 10.0));
        assert_eq!(best(&history), Some(("unroll a".into(), 95.0)));
        assert!(history.is_unjudged());
        history.apply(judged("unroll d", 50.0));
        assert_eq!(best(&history), Some(("unroll d".into(), 50.0)));
        assert_eq!(history.now(), Step { trials: 4, best: Some(50.0), seconds: 8.0 });
        assert_eq!(history.curve().len(), 6);
    }

    #[test]
    fn trials_without_a_gain_are_counted() {
        let history = history(&[tried("unroll a", 100.0), tried("unroll b", 99.5), tried("unroll c", 200.0)]);
        assert_eq!((history.without_gain(), history.fastest()), (2, Some(100.0)));
    }

    #[test]
    fn what_failed_in_a_comparison_is_no_finalist_again() {
        let failed = Outcome::Failed(Cause::Timeout);
        let mut history = history(&[tried("unroll a", 100.0), tried("unroll b", 50.0)]);
        assert_eq!(history.finalists(&schedule("unroll a")).len(), 2);
        history.apply(Event::Tried { schedule: schedule("unroll b"), outcome: failed, seconds: 1.0 });
        assert_eq!(history.finalists(&schedule("unroll a")), [schedule("unroll a")]);
        assert_eq!(history.trials(), 2);
    }
}
