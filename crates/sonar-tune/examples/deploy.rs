//! From a description to inferences on several threads: load, compile, run.
//!
//! `cargo run --release -p sonar-tune --example deploy`

use sonar_ir::graph::init;
use sonar_ir::text;
use sonar_tune::{CompileOptions, Target, compile};
use std::error::Error;
use std::thread;

/// A network for two classes of points in eight dimensions.
const NETWORK: &str = "
graph @classifier(%points: f32[N,8], param %w1: f32[8,32] = he, param %b1: f32[32] = zeros, param %w2: f32[32,2] = he) {
  %hidden = relu(add(matmul(%points, %w1), %b1))
  return softmax(matmul(%hidden, %w2))
}
";

/// Points in one inference.
const BATCH: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    // Load the description, and weights: random ones here, from training or a file in earnest.
    let graph = text::parse_graph(NETWORK)?;
    let weights = init::params(&graph, 1);

    // Compile for this machine, and pack the weights. The model holds all that it needs.
    let target = Target::native()?;
    let options = CompileOptions { batch: BATCH, ..CompileOptions::new(&target) };
    let model = compile(&graph, &options)?.load(&weights)?;
    drop(weights);

    // Run: threads share the model, and each has a context. A run allocates nothing and copies neither inputs nor outputs.
    thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|thread| {
                let model = &model;
                scope.spawn(move || {
                    let points = [0.1 * (thread + 1) as f32; 8 * BATCH];
                    let mut classes = [0.0; 2 * BATCH];
                    model.context()?.run(&[&points], &mut [&mut classes])?;
                    Ok::<_, Box<dyn Error + Send + Sync>>(classes)
                })
            })
            .collect();
        for (thread, run) in runs.into_iter().enumerate() {
            let classes = run.join().map_err(|_| "a thread panicked")?.map_err(|e| e.to_string())?;
            println!("thread {thread}: the first point is of class 0 with probability {:.3}", classes[0]);
            if classes.chunks(2).any(|point| (point.iter().sum::<f32>() - 1.0).abs() > 1e-5) {
                return Err("probabilities do not add up to 1".into());
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().unwrap();
    }
}
