//! The measurer that does the work: compiles, checks and times candidates in this process. A candidate that crashes or
//! hangs takes the process with it, so searches use it through a [worker](crate::process::WorkerMeasurer).

use crate::error::MeasureError;
use crate::job::{Cause, Job, Measurer, Outcome};
use crate::race;
use sonar_codegen::{CodegenError, Kernel, Target};
use sonar_ir::Tensor;
use sonar_ir::loops::{BufferKind, Program};
use std::collections::HashMap;
use std::time::Instant;

/// The target of reference programs: one that every x86-64 machine of interest has. Elsewhere it is the machine itself.
const REFERENCE_TARGET: &str = "x86-64-v2";
/// Elements of all remembered arguments together, beyond which they are forgotten.
const REMEMBERED_ELEMENTS: usize = 64 << 20;
/// Elements of a cache line.
const LINE: usize = 16;

/// Measures in this process.
#[derive(Debug, Default)]
pub struct LocalMeasurer {
    /// Arguments and right results of tasks, by task and seed.
    known: HashMap<(String, u64), Known>,
}

/// The bits of an element of an output that no call has written: those of one of the numbers that are none, which no
/// computation gives.
const UNWRITTEN: u32 = 0x7fc5_e5e5;

/// The inputs of a task, and the outputs that belong to them.
#[derive(Debug)]
struct Known {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Tensor>,
}

/// A candidate with its arguments, ready to be called.
struct Candidate {
    kernel: Kernel,
    arguments: Vec<Argument>,
}

/// Elements that start at a cache line, as those of a model do.
struct Argument {
    kind: BufferKind,
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl LocalMeasurer {
    /// Compiles a candidate, calls it once, and checks what it computes.
    fn prepare(&mut self, job: &Job) -> Result<Candidate, Cause> {
        let known = self.known(job)?;
        let target = Target::parse(&job.target).map_err(illegal)?;
        let mut candidate = Candidate::compile(&job.candidate, &target, job.threads, &known.inputs)?;
        candidate.call(1).map_err(illegal)?;
        let results = candidate.outputs();
        if results.len() != known.outputs.len() {
            return Err(Cause::Illegal(format!("{} outputs instead of {}", results.len(), known.outputs.len())));
        }
        for (mut result, expected) in results.into_iter().zip(&known.outputs) {
            // A program may leave parts of its output to others: there, both are as they were.
            let mut expected = expected.clone();
            for (found, right) in result.data.iter_mut().zip(&mut expected.data) {
                if found.to_bits() == UNWRITTEN && right.to_bits() == UNWRITTEN {
                    (*found, *right) = (0.0, 0.0);
                }
            }
            let error = result.relative_error(&expected);
            if error > job.tolerance {
                return Err(Cause::WrongOutput(error.min(f64::MAX)));
            }
        }
        Ok(candidate)
    }

    fn known(&mut self, job: &Job) -> Result<&Known, Cause> {
        let key = (job.task.clone(), job.seed);
        if !self.known.contains_key(&key) {
            if self.known.values().map(Known::elements).sum::<usize>() > REMEMBERED_ELEMENTS {
                self.known.clear();
            }
            let known = Known::compute(&job.reference, job.seed)?;
            self.known.insert(key.clone(), known);
        }
        Ok(&self.known[&key])
    }
}

impl Measurer for LocalMeasurer {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        Ok(match self.prepare(job) {
            Ok(mut candidate) => race::race(|n| candidate.time(n), job.incumbent, job.budget),
            Err(cause) => Outcome::Failed(cause),
        })
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        let Some(first) = jobs.first() else { return Ok(vec![]) };
        let prepared: Vec<Result<Candidate, Cause>> = jobs.iter().map(|job| self.prepare(job)).collect();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(jobs.len());
        let mut sound = Vec::new();
        for result in prepared {
            outcomes.push(match result {
                Ok(candidate) => {
                    sound.push(candidate);
                    Outcome::Ok(vec![])
                }
                Err(cause) => Outcome::Failed(cause),
            });
        }
        let count = sound.len();
        let mut samples = race::take_turns(|i, n| sound[i].time(n), count, first.budget).into_iter();
        for outcome in &mut outcomes {
            if let Outcome::Ok(times) = outcome {
                *times = samples.next().unwrap_or_default();
            }
        }
        Ok(outcomes)
    }
}

impl Known {
    /// Random inputs, and what the unscheduled program makes of them.
    ///
    /// Inputs have both signs, unless the function is undefined for negative numbers.
    fn compute(reference: &Program, seed: u64) -> Result<Known, Cause> {
        let portable = Target::parse(REFERENCE_TARGET).map_err(illegal)?;
        let target = if portable.runs_here() { portable } else { Target::native().map_err(illegal)? };
        let evaluate = |inputs: &[Vec<f32>]| {
            let mut candidate = Candidate::compile(reference, &target, 1, inputs)?;
            candidate.call(1).map_err(illegal)?;
            Ok(candidate.outputs())
        };
        let mut inputs = random_inputs(reference, seed, -1.0);
        let mut outputs = evaluate(&inputs)?;
        if outputs.iter().any(|output| output.data.iter().any(|v| !v.is_finite() && v.to_bits() != UNWRITTEN)) {
            inputs = random_inputs(reference, seed, 0.5);
            outputs = evaluate(&inputs)?;
        }
        Ok(Known { inputs, outputs })
    }

    fn elements(&self) -> usize {
        self.inputs.iter().map(Vec::len).chain(self.outputs.iter().map(|t| t.data.len())).sum()
    }
}

impl Candidate {
    /// Compiles a program and fills its packed weights. Outputs are [`UNWRITTEN`] before the first call, so that an element is
    /// noticed which is not written but should be.
    fn compile(program: &Program, target: &Target, threads: usize, inputs: &[Vec<f32>]) -> Result<Candidate, Cause> {
        let kernel = Kernel::compile_threaded(program, target, threads).map_err(illegal)?;
        let mut inputs = inputs.iter();
        let buffers = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Input | BufferKind::Output));
        let arguments = buffers.map(|buffer| {
            let mut argument = Argument::new(buffer.kind, buffer.len);
            if buffer.kind == BufferKind::Input {
                let input = inputs.next().filter(|input| input.len() == buffer.len)?;
                argument.as_mut().copy_from_slice(input);
            }
            Some(argument)
        });
        let arguments = arguments.collect::<Option<_>>().ok_or_else(|| illegal("its inputs are not those of the reference"))?;
        let mut candidate = Candidate { kernel, arguments };
        let mut slices: Vec<&mut [f32]> = candidate.arguments.iter_mut().map(Argument::as_mut).collect();
        candidate.kernel.setup(&mut slices).map_err(illegal)?;
        Ok(candidate)
    }

    /// Makes `n` calls and returns the nanoseconds that they take together.
    fn call(&mut self, n: usize) -> Result<f64, CodegenError> {
        let mut slices: Vec<&mut [f32]> = self.arguments.iter_mut().map(Argument::as_mut).collect();
        let start = Instant::now();
        for _ in 0..n {
            self.kernel.run(&mut slices)?;
        }
        Ok(start.elapsed().as_nanos() as f64)
    }

    /// As [`call`](Candidate::call), after one call that succeeded: only the arguments can be wrong, and they were not.
    fn time(&mut self, n: usize) -> f64 {
        self.call(n).unwrap_or(f64::INFINITY)
    }

    fn outputs(&self) -> Vec<Tensor> {
        let outputs = self.arguments.iter().filter(|argument| argument.kind == BufferKind::Output);
        outputs.map(|output| Tensor::new(vec![output.len], output.as_ref().to_vec())).collect()
    }
}

impl Argument {
    fn new(kind: BufferKind, len: usize) -> Self {
        let data = vec![f32::from_bits(UNWRITTEN); len + LINE];
        let misplaced = data.as_ptr() as usize / size_of::<f32>() % LINE;
        Argument { kind, start: (LINE - misplaced) % LINE, data, len }
    }

    fn as_ref(&self) -> &[f32] {
        &self.data[self.start..self.start + self.len]
    }

    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// Numbers between `low` and 1 for every input of a program.
fn random_inputs(program: &Program, seed: u64, low: f32) -> Vec<Vec<f32>> {
    let mut state = seed;
    let inputs = program.buffers.iter().filter(|b| b.kind == BufferKind::Input);
    inputs.map(|buffer| (0..buffer.len).map(|_| low + (1.0 - low) * unit_number(&mut state)).collect()).collect()
}

/// The next of a sequence of numbers in `0..1` (SplitMix64; Steele, Lea, Flood, 2014).
fn unit_number(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
}

fn illegal(error: impl std::fmt::Display) -> Cause {
    Cause::Illegal(error.to_string())
}
