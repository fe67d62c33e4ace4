//! The measurer that does the work: it compiles, checks and times candidates in this process. A candidate that crashes or hangs
//! stops the whole process, so searches use it through a [worker](super::WorkerMeasurer).

use crate::error::MeasureError;
use crate::timing::job::{Cache, Cause, Job, Measurer, Outcome};
use crate::timing::race;
use sonar_codegen::{CodegenError, CompiledKernel, Guarded, Target};
use sonar_ir::Tensor;
use sonar_ir::loops::{BufferKind, Program};
use sonar_ir::machine::Machine;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The target of reference programs: one that all relevant x86-64 machines support. On other machines, it is the native target.
const REFERENCE_TARGET: &str = "x86-64-v2";
/// Most elements of all cached arguments. Beyond this, the cache is cleared.
const REMEMBERED_ELEMENTS: usize = 64 << 20;
/// Amount of data read before a cold call, as a multiple of the caches of one core.
const EVICTION: usize = 3;
/// Most cold calls in one sample, because eviction takes longer than most kernels.
const COLD_CALLS: usize = 2;

/// Measures in this process.
#[derive(Debug, Default)]
pub struct LocalMeasurer {
    /// Arguments and correct results of tasks, by task and seed.
    known: HashMap<(String, u64), Known>,
    /// Total time that candidates ran.
    running: Duration,
}

/// The initial bits of an output element, to detect elements that no call has written. They are a NaN payload no kernel
/// produces.
const UNWRITTEN: u32 = 0x7fc5_e5e5;

/// The inputs of a task, and the correct outputs for them.
#[derive(Debug)]
struct Known {
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Tensor>,
}

/// A candidate with its arguments, ready to run.
struct Prepared {
    kernel: CompiledKernel,
    arguments: Vec<Argument>,
    cache: Cache,
    /// Total time that it ran.
    running: Duration,
}

/// A buffer argument of a candidate.
struct Argument {
    kind: BufferKind,
    data: Guarded,
}

impl LocalMeasurer {
    /// Total time that candidates ran.
    pub fn running(&self) -> Duration {
        self.running
    }

    /// Compiles a candidate, calls it once, and checks its output.
    fn prepare(&mut self, job: &Job) -> Result<Prepared, Cause> {
        let known = self.known(job)?;
        let target = Target::parse(&job.target).map_err(illegal)?;
        let mut candidate = Prepared::compile(&job.candidate, &target, job.threads, &known.inputs)?;
        candidate.cache = job.cache;
        if let Some(fault) = job.fault {
            candidate.kernel.plant(fault);
        }
        candidate.call(1).map_err(illegal)?;
        if candidate.arguments.iter().any(|argument| !argument.data.intact()) {
            return Err(Cause::OutOfBounds);
        }
        let results = candidate.outputs();
        if results.len() != known.outputs.len() {
            return Err(Cause::Illegal(format!("{} outputs instead of {}", results.len(), known.outputs.len())));
        }
        for (mut result, expected) in results.into_iter().zip(&known.outputs) {
            // A program may leave parts of its output to other programs. Those parts are unchanged in both outputs.
            let mut expected = expected.clone();
            for (found, right) in result.data.iter_mut().zip(&mut expected.data) {
                if found.to_bits() == UNWRITTEN && right.to_bits() == UNWRITTEN {
                    (*found, *right) = (0.0, 0.0);
                }
            }
            let error = result.relative_error(&expected);
            if error > job.check_tolerance {
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
            Ok(mut candidate) => {
                let outcome = race::race(|n| candidate.time(n), job.incumbent, job.budget);
                self.running += candidate.running;
                outcome
            }
            Err(cause) => Outcome::Failed(cause),
        })
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        let Some(first) = jobs.first() else { return Ok(vec![]) };
        let prepared: Vec<Result<Prepared, Cause>> = jobs.iter().map(|job| self.prepare(job)).collect();
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
        self.running += sound.iter().map(|candidate| candidate.running).sum::<Duration>();
        Ok(outcomes)
    }
}

impl Known {
    /// Random inputs, and the results of the unscheduled program.
    ///
    /// Inputs have both signs, unless the function is undefined for negative numbers.
    fn compute(reference: &Program, seed: u64) -> Result<Known, Cause> {
        let portable = Target::parse(REFERENCE_TARGET).map_err(illegal)?;
        let target = if portable.runs_here() { portable } else { Target::native().map_err(illegal)? };
        let evaluate = |inputs: &[Vec<f32>]| {
            let mut candidate = Prepared::compile(reference, &target, 1, inputs)?;
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

impl Prepared {
    /// Compiles a program and fills its packed weights. Outputs are [`UNWRITTEN`] before the first call, so missing writes are
    /// detected.
    fn compile(program: &Program, target: &Target, threads: usize, inputs: &[Vec<f32>]) -> Result<Prepared, Cause> {
        let kernel = CompiledKernel::compile_threaded(program, target, threads).map_err(illegal)?;
        let mut inputs = inputs.iter();
        let buffers = program.buffers.iter().filter(|b| matches!(b.kind, BufferKind::Input | BufferKind::Output));
        let mut arguments = Vec::new();
        for buffer in buffers {
            let mut data = Guarded::new(buffer.len).map_err(|_| Cause::OutOfMemory)?;
            match buffer.kind {
                BufferKind::Input => {
                    let input = inputs.next().filter(|input| input.len() == buffer.len);
                    data.as_mut_slice()
                        .copy_from_slice(input.ok_or_else(|| illegal("its inputs are not those of the reference"))?);
                }
                _ => data.as_mut_slice().fill(f32::from_bits(UNWRITTEN)),
            }
            arguments.push(Argument { kind: buffer.kind, data });
        }
        let mut candidate = Prepared { kernel, arguments, cache: Cache::Warm, running: Duration::ZERO };
        let mut slices: Vec<&mut [f32]> = candidate.arguments.iter_mut().map(|argument| argument.data.as_mut_slice()).collect();
        candidate.kernel.setup(&mut slices).map_err(illegal)?;
        Ok(candidate)
    }

    /// Makes `n` calls and returns their total time.
    fn call(&mut self, n: usize) -> Result<Duration, CodegenError> {
        let mut slices: Vec<&mut [f32]> = self.arguments.iter_mut().map(|argument| argument.data.as_mut_slice()).collect();
        let start = Instant::now();
        for _ in 0..n {
            self.kernel.run(&mut slices)?;
        }
        let elapsed = start.elapsed();
        self.running += elapsed;
        Ok(elapsed)
    }

    /// The nanoseconds of `n` calls, after one call that succeeded. A call only fails for wrong arguments, and they were
    /// accepted before. Only a few cold calls are made, and the time of the others is extrapolated.
    fn time(&mut self, n: usize) -> f64 {
        let nanoseconds = |time: Result<Duration, CodegenError>| time.map_or(f64::INFINITY, |time| time.as_nanos() as f64);
        match self.cache {
            Cache::Warm => nanoseconds(self.call(n)),
            Cache::Cold => {
                let calls = n.min(COLD_CALLS);
                let cold = (0..calls).map(|_| {
                    self.kernel.evict(eviction());
                    nanoseconds(self.call(1))
                });
                cold.sum::<f64>() * n as f64 / calls as f64
            }
        }
    }

    fn outputs(&self) -> Vec<Tensor> {
        let outputs = self.arguments.iter().filter(|argument| argument.kind == BufferKind::Output);
        outputs.map(|output| Tensor::new(vec![output.data.as_slice().len()], output.data.as_slice().to_vec())).collect()
    }
}

/// Number of bytes to read to evict everything else from the caches of one core.
fn eviction() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let caches = sonar_codegen::machine::data_caches();
        let usual = &Machine::usual(8).caches;
        // The first two levels are private to a core.
        let own = caches.get(1).or(caches.first()).or(usual.get(1)).copied();
        EVICTION * own.unwrap_or_default()
    })
}

/// Numbers between `low` and 1 for every input of a program.
fn random_inputs(program: &Program, seed: u64, low: f32) -> Vec<Vec<f32>> {
    let mut state = seed;
    let inputs = program.buffers.iter().filter(|b| b.kind == BufferKind::Input);
    inputs.map(|buffer| (0..buffer.len).map(|_| low + (1.0 - low) * unit_number(&mut state)).collect()).collect()
}

/// The next number of a sequence in `0..1` (SplitMix64; Steele, Lea, Flood, 2014).
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
