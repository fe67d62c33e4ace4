//! The best schedules that the records know: tuned models without a search.

use sonar_codegen::Target;
use sonar_ir::schedule::Schedule;
use sonar_measure::{Key, MeasureError, Records, records};
use sonar_schedule::Task;

/// Version of the code generator: trials of other versions do not count.
pub const COMPILER: &str = env!("CARGO_PKG_VERSION");

/// Under which key trials of a task are recorded.
pub fn key(task: &Task, target: &Target, threads: usize) -> Key {
    Key { task: records::digest(&task.key), target: target.key(), threads, compiler: COMPILER.into() }
}

/// The best recorded schedule of a task.
pub fn best_schedule(records: &Records, task: &Task, target: &Target, threads: usize) -> Result<Option<Schedule>, MeasureError> {
    let best = records.best(&key(task, target, threads))?;
    Ok(best.and_then(|trial| trial.schedule.parse().ok()))
}
