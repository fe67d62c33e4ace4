//! Every operator and several fused groups: the unscheduled programs against the reference interpreter.

mod common;

use common::{error, graphs, random_values, run_tasks};
use rand::SeedableRng;
use rand::rngs::StdRng;

#[test]
fn unscheduled_programs_agree_with_the_reference() {
    for (name, graph) in graphs() {
        let mut rng = StdRng::seed_from_u64(7);
        let values = random_values(&graph, &mut rng);
        let expected = sonar_ir::graph::interp::run(&graph, &values).unwrap_or_else(|e| panic!("{name}: {e}"));
        let tasks = sonar_schedule::tasks(&graph).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = run_tasks(&tasks, &values, &mut |task| task.program.clone());
        for (found, expected) in found.iter().zip(&expected) {
            let error = error(found, &expected.data);
            assert!(error < 1e-5, "{name} is off by {error}");
        }
    }
}
