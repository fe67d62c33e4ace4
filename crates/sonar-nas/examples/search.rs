//! The default search with another time limit, seed and algorithm, told event by event:
//!
//!     cargo run --release -p sonar-nas --example search -- RUN_DIRECTORY [SECONDS [SEED [ALGORITHM]]]

use sonar_measure::{WorkerMeasurer, WorkerOptions, worker};
use sonar_nas::driver::Progress;
use sonar_nas::{Event, Policy, SearchConfig, search};
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "worker") {
        return Ok(worker::serve(std::io::stdin(), std::io::stdout())?);
    }
    let Some(dir) = arguments.first() else { return Err("usage: search RUN_DIRECTORY [SECONDS [SEED [ALGORITHM]]]".into()) };
    let mut policy = Policy::default();
    if let Some(seconds) = arguments.get(1) {
        policy.seconds = Some(seconds.parse()?);
    }
    if let Some(seed) = arguments.get(2) {
        policy.seed = seed.parse()?;
    }
    if let Some(algorithm) = arguments.get(3) {
        policy.algorithm = algorithm.parse()?;
    }
    let config = SearchConfig { policy, ..SearchConfig::default() };
    let measurer = WorkerMeasurer::new(WorkerOptions::current_executable()?);
    let result = search(&config, Path::new(dir), false, Box::new(measurer), &mut |progress, event, _| {
        tell(progress, event);
        ControlFlow::Continue(())
    })?;
    println!("{}", serde_json::to_string_pretty(&result.front)?);
    println!("baseline: {}", serde_json::to_string(&result.baseline)?);
    println!("winner: {:?}; cost: {}", result.winner, serde_json::to_string(&result.cost)?);
    Ok(())
}

/// One line for every event but the drawing of candidates.
fn tell(progress: &Progress, event: &Event) {
    let text = match event {
        Event::Drawn { .. } => return,
        Event::Planned { plan } => format!("{plan:?}"),
        Event::Tuned { latencies, failures, .. } if latencies.is_empty() && failures.is_empty() => return,
        other => format!("{other:?}"),
    };
    let text: String = text.chars().take(400).collect();
    eprintln!("{:7.1} s, {:5.0} s left: {text}", progress.elapsed, progress.left.unwrap_or(f64::NAN));
}
