//! What a learnt cost model is told of a scheduled task: numbers that mean the same for all tasks.

use sonar_ir::loops::{BufferKind, Program};
use sonar_schedule::knobs::{KNOBS, Value};
use sonar_schedule::{ScheduleSpace, Task, executed_flops};

/// The features of a task with the schedule at a point of its space; `program` is what that schedule gives, `cycles` what the analytic
/// model thinks of it.
pub fn features(task: &Task, space: &ScheduleSpace, point: &[usize], program: &Program, cycles: f64) -> Vec<f64> {
    let log = |x: f64| x.max(1.0).log2();
    let (flops, bytes) = (task.flops as f64, task.bytes as f64);
    let bytes_of = |kind| program.buffers.iter().filter(|b| b.kind == kind).map(|b| b.len as f64 * 4.0).sum::<f64>();
    let mut features = vec![
        log(flops),
        log(bytes),
        log(flops) - log(bytes),
        log(cycles),
        log(cycles) - log(flops),
        log(executed_flops(program) as f64) - log(flops),
        log(bytes_of(BufferKind::Temp)),
        log(bytes_of(BufferKind::Input)),
        log(bytes_of(BufferKind::Output)),
        program.tiles.len() as f64,
        log(program.tiles.iter().map(|tile| tile.body.len()).sum::<usize>() as f64),
    ];
    for knob in &KNOBS {
        features.extend(match space.value(point, knob.name) {
            Some(Value::Tile { mr, nv }) => [mr as f64, nv as f64, (mr * nv) as f64].to_vec(),
            Some(Value::Number(n)) => vec![n as f64],
            Some(Value::Flag(yes)) => vec![f64::from(yes)],
            Some(Value::Winograd(tile)) => vec![tile as f64],
            Some(Value::All | Value::Direct) | None => vec![0.0],
        });
    }
    features
}
