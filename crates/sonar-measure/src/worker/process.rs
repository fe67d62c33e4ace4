//! A measurer that works in another process and survives its crashes.
//!
//! While one worker measures, a spare one is already started and idle. After a crash, the next job does not wait for a new
//! process.

use super::protocol::{PROTOCOL, Reply, Request};
use crate::error::MeasureError;
use crate::timing::job::{Cause, Job, Measurer, Outcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Default memory limit of a worker, in bytes.
pub const MEMORY: u64 = 8 << 30;
/// Time limit of a job, not counting the run time of its candidate.
const PREPARATION: Duration = Duration::from_secs(5);
/// The run time limit of a candidate, as a multiple of the incumbent's time. Candidates that are timed are dropped much
/// earlier.
const PATIENCE: f64 = 1000.0;
/// Signal numbers.
const ILLEGAL_INSTRUCTION: i32 = 4;
const BUS_ERROR: i32 = 7;
const SEGMENTATION_FAULT: i32 = 11;

/// How to start a worker, and its limits.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The executable.
    pub program: PathBuf,
    /// The arguments with which the executable calls [`serve`](crate::worker::serve).
    pub arguments: Vec<String>,
    /// Whether to pin the worker to one processor. Only for kernels with one thread.
    pub pin: bool,
    /// Time limit of one job, from compilation to the last sample. It is shorter if the time of the incumbent is known.
    pub time_limit: Duration,
    /// Memory limit of a worker in bytes.
    pub memory: u64,
}

/// Measures in a worker process. If a job kills the worker or reaches the time limit, only this job fails: the next job gets a
/// new worker.
#[derive(Debug)]
pub struct WorkerMeasurer {
    options: WorkerOptions,
    worker: Option<Worker>,
    /// A worker that is starting or idle.
    spare: Option<JoinHandle<Result<Worker, MeasureError>>>,
    overheads: Overheads,
}

/// The overhead of trials, without the candidate's run time. Shared with the [`WorkerMeasurer`].
#[derive(Clone, Debug, Default)]
pub struct Overheads(Arc<Mutex<Vec<f64>>>);

#[derive(Debug)]
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

/// The result of a request.
enum Answer {
    Reply(Reply),
    Unreadable(String),
    Died(Cause),
    Timeout,
}

impl Overheads {
    /// Overhead in seconds of each successful trial, in order.
    pub fn seconds(&self) -> Vec<f64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn push(&self, seconds: f64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
    }
}

impl WorkerOptions {
    /// This executable as a worker with the argument `worker`, for kernels with a number of threads. Every command pins kernels
    /// with one thread to one processor, because pinned and unpinned times are not comparable.
    pub fn current_executable(threads: usize) -> std::io::Result<WorkerOptions> {
        Ok(WorkerOptions {
            program: std::env::current_exe()?,
            arguments: vec!["worker".into()],
            pin: threads == 1,
            time_limit: Duration::from_secs(20),
            memory: MEMORY,
        })
    }
}

impl WorkerMeasurer {
    /// A measurer. Its worker starts with the first job.
    pub fn new(options: WorkerOptions) -> Self {
        WorkerMeasurer { options, worker: None, spare: None, overheads: Overheads::default() }
    }

    /// Process id of the current worker.
    pub fn worker_id(&self) -> Option<u32> {
        self.worker.as_ref().map(|worker| worker.child.id())
    }

    /// The overheads of the trials of this measurer, including future ones.
    pub fn overheads(&self) -> Overheads {
        self.overheads.clone()
    }

    fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, MeasureError> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.next_worker()?,
        };
        let answer = worker.ask(request, limit)?;
        match &answer {
            Answer::Reply(_) => self.worker = Some(worker),
            Answer::Unreadable(_) | Answer::Died(_) | Answer::Timeout => drop(worker),
        }
        Ok(answer)
    }

    /// The spare worker, or a new one if there is none. Then starts another spare worker.
    fn next_worker(&mut self) -> Result<Worker, MeasureError> {
        let spare = self.spare.take().and_then(|spare| spare.join().ok());
        let worker = spare.unwrap_or_else(|| start(&self.options))?;
        let options = self.options.clone();
        self.spare = Some(std::thread::spawn(move || start(&options)));
        Ok(worker)
    }

    /// The outcomes of a request with the run time of the candidates in seconds, or the reason why all jobs fail.
    fn outcomes(&mut self, request: &Request, jobs: &[Job]) -> Result<Result<(Vec<Outcome>, f64), Cause>, MeasureError> {
        let limit = jobs.iter().map(|job| self.limit(job)).sum();
        match self.ask(request, limit)? {
            Answer::Reply(Reply::Outcomes(outcomes, running)) if outcomes.len() == jobs.len() => Ok(Ok((outcomes, running))),
            Answer::Reply(reply) => Err(protocol_error(&self.options, format!("{reply:?} instead of {} outcomes", jobs.len()))),
            Answer::Unreadable(line) => Err(protocol_error(&self.options, line)),
            Answer::Died(cause) => Ok(Err(cause)),
            Answer::Timeout => Ok(Err(Cause::Timeout)),
        }
    }

    /// Time limit of a job.
    fn limit(&self, job: &Job) -> Duration {
        let Some(incumbent) = job.incumbent else { return self.options.time_limit };
        let running = Duration::try_from_secs_f64(PATIENCE * incumbent * 1e-9 + 2.0 * job.budget.seconds);
        running.map_or(self.options.time_limit, |running| (PREPARATION + running).min(self.options.time_limit))
    }
}

/// Starts a worker and checks that it supports the protocol.
fn start(options: &WorkerOptions) -> Result<Worker, MeasureError> {
    let mut worker = Worker::spawn(options).map_err(|source| MeasureError::Spawn { path: options.program.clone(), source })?;
    match worker.ask(&Request::Start { pin: options.pin, memory: options.memory }, options.time_limit)? {
        Answer::Reply(Reply::Ready(PROTOCOL)) => Ok(worker),
        Answer::Reply(reply) => Err(protocol_error(options, format!("{reply:?} instead of version {PROTOCOL}"))),
        Answer::Unreadable(line) => Err(protocol_error(options, line)),
        Answer::Died(cause) => Err(protocol_error(options, cause.to_string())),
        Answer::Timeout => Err(protocol_error(options, "no answer".into())),
    }
}

fn protocol_error(options: &WorkerOptions, reason: String) -> MeasureError {
    MeasureError::Protocol { path: options.program.clone(), reason }
}

impl Measurer for WorkerMeasurer {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        let start = Instant::now();
        let request = Request::Measure(Box::new(job.clone()));
        Ok(match self.outcomes(&request, std::slice::from_ref(job))? {
            Ok((mut outcomes, running)) => {
                let outcome = outcomes.remove(0);
                if outcome.samples().is_some() {
                    self.overheads.push((start.elapsed().as_secs_f64() - running).max(0.0));
                }
                outcome
            }
            Err(cause) => Outcome::Failed(cause),
        })
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        match self.outcomes(&Request::Compare(jobs.to_vec()), jobs)? {
            Ok((outcomes, _)) => Ok(outcomes),
            // One job has caused the failure. Run alone, each job gets its own outcome.
            Err(_) => jobs.iter().map(|job| self.measure(&Job { incumbent: None, ..job.clone() })).collect(),
        }
    }
}

impl Worker {
    fn spawn(options: &WorkerOptions) -> std::io::Result<Worker> {
        let mut command = Command::new(&options.program);
        command.args(&options.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt from the terminal is meant for the parent, which stops the worker. It must not look like a crash.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;

        let (sender, answers) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let complaints = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // If reading fails, the text read so far is used.
                let _ = stderr.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        Ok(Worker { input: child.stdin.take(), child, answers, complaints })
    }

    fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, MeasureError> {
        let mut line = serde_json::to_vec(request).map_err(std::io::Error::from)?;
        line.push(b'\n');
        let written = self.input.as_mut().is_some_and(|input| input.write_all(&line).and_then(|()| input.flush()).is_ok());
        if !written {
            return Ok(Answer::Died(self.end()));
        }
        Ok(match self.answers.recv_timeout(limit) {
            Ok(line) => serde_json::from_str(&line).map_or(Answer::Unreadable(line), Answer::Reply),
            Err(RecvTimeoutError::Disconnected) => Answer::Died(self.end()),
            Err(RecvTimeoutError::Timeout) => Answer::Timeout,
        })
    }

    /// Waits for a worker that has closed its output. Returns how it ended.
    fn end(&mut self) -> Cause {
        let status = self.child.wait();
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        status.map_or_else(|error| Cause::Crash(error.to_string()), |status| cause_of_death(status, &complaints))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // These calls fail only if the worker has already ended.
        sonar_codegen::end_group(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why a process ended, from its exit status and its error output. The texts are those of Rust's runtime.
fn cause_of_death(status: ExitStatus, complaints: &str) -> Cause {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None::<i32>;
    match signal {
        _ if complaints.contains("has overflowed its stack") => Cause::StackOverflow,
        _ if complaints.contains("memory allocation of") => Cause::OutOfMemory,
        Some(SEGMENTATION_FAULT | BUS_ERROR) => Cause::Segfault,
        Some(ILLEGAL_INSTRUCTION) => Cause::IllegalInstruction,
        _ => Cause::Crash(match complaints.lines().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("{status}: {}", line.trim()),
            None => status.to_string(),
        }),
    }
}
