//! The manifest: describes the content of an object file for programs.

use super::{Interface, Port};
use serde_json::{Value, json};
use sonar_schedule::TaskId;

/// The version of the document's format.
const SCHEMA: u32 = 1;

/// The document.
pub fn document(interface: &Interface<'_>) -> Value {
    let Interface { name, target, planned, object, inputs, outputs } = interface;
    let port = |port: &Port| json!({ "name": port.name, "shape": port.shape, "type": "f32" });
    let tasks = &planned.lowered.tasks;
    let calls = |task: TaskId| tasks.kernels.iter().filter(|kernel| kernel.task == task).count();
    let kernels: Vec<Value> = tasks
        .tasks
        .entries()
        .map(|(id, task)| json!({ "name": task.program.name, "calls": calls(id), "flops": task.flops, "bytes": task.bytes }))
        .collect();
    json!({
        "schema": SCHEMA,
        "sonar": env!("CARGO_PKG_VERSION"),
        "model": planned.plan.name,
        "target": target.triple(),
        "cpu": target.cpu(),
        "cpu_features": target.features(),
        "threads": 1,
        "inputs": inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(port).collect::<Vec<_>>(),
        "functions": {
            "run": format!("{name}_run"),
            "workspace_size": format!("{name}_workspace_size"),
            "supported": format!("{name}_supported"),
        },
        "fingerprint": object.fingerprint,
        "workspace_bytes": object.workspace_bytes,
        "weights_bytes": object.weight_bytes,
        "needs_libm": object.needs_libm,
        "flops": tasks.kernels.iter().map(|kernel| tasks.tasks[kernel.task].flops).sum::<u64>(),
        "kernels": kernels,
    })
}
