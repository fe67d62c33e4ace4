//! Progress of a search on standard error: a line for each milestone and, at a terminal, a line that changes.

use super::stderr;
use sonar_nas::candidates::draw::DrawingEnd;
use sonar_nas::driver::Progress;
use sonar_nas::state::plan::{Plan, Rung};
use sonar_nas::{Event, State, Status};

/// Seconds between two progress lines if standard error is not a terminal.
const PAUSE: f64 = 30.0;
/// The same while candidates are drawn.
const DRAWING_PAUSE: f64 = 2.0;

/// Reports progress.
pub struct Teller {
    quiet: bool,
    live: bool,
    said: f64,
}

impl Teller {
    /// Reports everything, or nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        Teller { quiet, live: stderr::is_live(), said: 0.0 }
    }

    /// Reports one event.
    pub fn tell(&mut self, progress: &Progress, event: &Event, state: &State) {
        if self.quiet {
            return;
        }
        if let Some(line) = milestone(event, state) {
            stderr::say(format_args!("{:>5.0} s  {line}", progress.elapsed));
        }
        if self.live {
            stderr::show(&format!("{:>5.0} s  {}", progress.elapsed, now(progress, state)));
        } else if progress.elapsed - self.said >= if state.drawing_end.is_none() { DRAWING_PAUSE } else { PAUSE } {
            self.said = progress.elapsed;
            stderr::say(format_args!("{:>5.0} s  {}", progress.elapsed, now(progress, state)));
        }
    }
}

/// A line for an important event.
fn milestone(event: &Event, state: &State) -> Option<String> {
    Some(match event {
        Event::Opened if state.sessions > 1 => format!("going on: {} epochs and timings are kept", kept(state)),
        Event::Sampled { draws, end: Some(end) } => {
            let drawn = format!("{} architectures drawn, all different functions", contenders(state));
            match end {
                DrawingEnd::Enough => drawn,
                DrawingEnd::Exhausted => format!("{drawn}: the space has no others (looked at {draws})"),
                DrawingEnd::TimeLimit => format!("{drawn}: the time for drawing is over"),
                DrawingEnd::Most => format!("{drawn}: a search draws no more than that"),
            }
        }
        Event::Planned { plan } => format!("plan: {}", steps(plan)),
        Event::Failed { candidate, reason } => format!("{candidate} fails: {reason}"),
        Event::Tuned { failures, .. } | Event::Measured { failures, .. } if !failures.is_empty() => {
            let each: Vec<String> = failures.iter().map(|(candidate, reason)| format!("{candidate} fails: {reason}")).collect();
            each.join("\n         ")
        }
        Event::Promoted { survivors, dropped } => {
            let cut = state.candidates.iter().filter(|t| t.status == Status::Cut).count();
            let (rung, on, off) = (state.rung + 1, survivors.len(), dropped.len());
            let cut = if cut > 0 { format!("; time did not suffice for {cut}") } else { String::new() };
            format!("rung {rung} begins: {on} architectures go on, {off} stop early{cut}")
        }
        Event::Closed { survivors, .. } => format!("training ends for want of time, with {} finalists", survivors.len()),
        Event::Measured { latencies, .. } => format!("{} finalists timed side by side", latencies.len()),
        _ => return None,
    })
}

fn contenders(state: &State) -> usize {
    state.candidates.len() - usize::from(state.baseline.is_some())
}

fn kept(state: &State) -> usize {
    state.candidates.iter().map(|t| t.curve.len() + t.tuning.len()).sum()
}

fn steps(plan: &Plan) -> String {
    let step = |rung: &Rung| {
        let epochs = if rung.epochs == 1 { "epoch" } else { "epochs" };
        format!("{} × {} {epochs}", rung.size, rung.epochs)
    };
    plan.rungs.iter().map(step).collect::<Vec<_>>().join(" → ")
}

/// The current position of the search.
fn now(progress: &Progress, state: &State) -> String {
    let before = || match state.drawing_end {
        None => format!("drawing architectures: {}", contenders(state)),
        Some(_) => "planning".into(),
    };
    let rung = progress.rung.map_or_else(before, |(i, n)| {
        let alive = state.contenders();
        let to = state.plan.as_ref().and_then(|p| p.rungs.get(i)).map_or(0, |r| r.epochs);
        let done = alive.iter().filter(|&&id| state.history(id).epochs() >= to).count();
        format!("rung {} of {n}: {done} of {} trained", i + 1, alive.len())
    });
    let best = progress.best.map_or(String::new(), |b| {
        let latency = b.latency_ns.map_or(String::new(), |ns| format!(" at {:.1} µs", ns / 1e3));
        format!(", best {:.1}%{latency}", 100.0 * b.accuracy)
    });
    let left = progress.left.map_or(String::new(), |s| format!(", about {s:.0} s left"));
    format!("{rung}{best}{left}")
}
