//! Chooses the task of the next trial: the one with the largest expected gain.

use super::history::History;
use super::limits::{Limits, TaskStop};

/// The weight of the recent gain in a task's expected gain. The rest is the weight of the optimistic gain.
const RECENT_SHARE: f64 = 0.2;
/// Number of trials that count as recent.
const RECENT: usize = 16;

/// A task that competes for trials.
pub struct Competitor<'a, Id> {
    /// Its name.
    pub id: Id,
    /// The value of saving one nanosecond: how often a model runs the task.
    pub weight: f64,
    /// Its history.
    pub history: &'a History,
    /// Whether no untried schedule can be found.
    pub exhausted: bool,
    /// Trials under way: 0 or 1.
    pub in_flight: usize,
    /// Estimates the nanoseconds of one call. Called only if all trials failed.
    pub guess: &'a dyn Fn() -> f64,
}

/// The task with the largest expected gain of a trial, if one has a trial left. Of equal tasks, the first.
pub fn next_task<'a, Id: Copy + Ord>(tasks: impl IntoIterator<Item = Competitor<'a, Id>>, limits: &Limits) -> Option<Id> {
    let open = tasks.into_iter().filter(|task| stop(task.history, task.exhausted, limits, task.in_flight).is_none());
    let promises = open.map(|task| (task.weight * promise(task.history, task.guess, task.in_flight), task.id));
    promises.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).map(|promise| promise.1)
}

/// Why no more schedules of a task are tried, with this many trials in flight. `None` if one may be tried.
pub fn stop(history: &History, exhausted: bool, limits: &Limits, in_flight: usize) -> Option<TaskStop> {
    if limits.trials_each.is_some_and(|limit| history.trials() + in_flight >= limit) {
        Some(TaskStop::Trials)
    } else if limits.patience.is_some_and(|limit| history.without_gain() >= limit) {
        Some(TaskStop::Patience)
    } else {
        exhausted.then_some(TaskStop::Exhausted)
    }
}

/// Nanoseconds that a trial is expected to save. It is a weighted sum of two gains: the gain of recent trials, and the gain if
/// the time continued to fall in proportion to one over the number of trials. A task without trials comes first. If all trials
/// failed, the time is estimated. So the task gets more trials, but fewer the more of them fail.
///
/// This is the task gradient of Ansor (Zheng et al., 2020) without its similarity term.
fn promise(history: &History, guess: &dyn Fn() -> f64, in_flight: usize) -> f64 {
    let trials = history.trials() + in_flight;
    if trials == 0 {
        return f64::INFINITY;
    }
    let Some(best) = history.best().map(|best| best.nanoseconds) else {
        return (1.0 - RECENT_SHARE) * guess() / trials as f64;
    };
    let curve = history.curve();
    let window = &curve[curve.len().saturating_sub(RECENT + 1)..];
    let earlier = window.iter().find_map(|step| Some((step.trials, step.best?)));
    let recent = earlier.map_or(0.0, |(before, time)| (time - best) / (history.trials() - before).max(1) as f64);
    RECENT_SHARE * recent + (1.0 - RECENT_SHARE) * best / trials as f64
}

#[cfg(test)]
mod tests {
    use super::super::history::Event;
    use super::*;
    use sonar_measure::{Cause, Outcome};

    /// A history of trials with these times. `None` means a failure.
    fn history(times: &[Option<f64>]) -> History {
        let mut history = History::default();
        for (i, time) in times.iter().enumerate() {
            let outcome = time.map_or(Outcome::Failed(Cause::Timeout), |time| Outcome::Ok(vec![time]));
            let schedule = format!("unroll l{i}").parse().expect("it is well-formed");
            history.apply(Event::Tried { schedule, outcome, seconds: 1.0 });
        }
        history
    }

    fn next(histories: &[&History], weights: &[f64], guess: f64) -> Option<usize> {
        let guess = || guess;
        let tasks = histories.iter().enumerate().map(|(id, &history)| Competitor {
            id,
            weight: weights[id],
            history,
            exhausted: false,
            in_flight: 0,
            guess: &guess,
        });
        next_task(tasks, &Limits::default())
    }

    #[test]
    fn a_task_that_was_never_tried_comes_first() {
        assert_eq!(next(&[&history(&[Some(1e9)]), &history(&[])], &[100.0, 1.0], 1.0), Some(1));
    }

    #[test]
    fn a_task_whose_first_trial_failed_is_tried_again() {
        let fast = history(&[Some(100.0); 5]);
        assert_eq!(next(&[&fast, &history(&[None])], &[1.0, 1.0], 1000.0), Some(1));
        // But not for ever, if another task promises more.
        assert_eq!(next(&[&fast, &history(&[None; 60])], &[1.0, 1.0], 1000.0), Some(0));
        assert_eq!(next(&[&fast, &history(&[None])], &[1.0, 0.0], 1000.0), Some(0));
    }

    #[test]
    fn what_runs_often_or_still_gains_comes_first() {
        let steady = history(&[Some(100.0); 8]);
        assert_eq!(next(&[&steady, &steady], &[1.0, 2.0], 1.0), Some(1));
        let gaining =
            history(&[Some(200.0), Some(180.0), Some(160.0), Some(140.0), Some(120.0), Some(110.0), Some(105.0), Some(100.0)]);
        assert_eq!(next(&[&steady, &gaining], &[1.0, 1.0], 1.0), Some(1));
    }
}
