//! A measurer that lets another process do the work, and outlives it.

use crate::error::MeasureError;
use crate::job::{Cause, Job, Measurer, Outcome};
use crate::worker::{PROTOCOL, Reply, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How to start a worker, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The executable.
    pub program: PathBuf,
    /// What makes the executable call [`serve`](crate::worker::serve).
    pub arguments: Vec<String>,
    /// Whether the worker stays on one processor; only for kernels that use one thread.
    pub pin: bool,
    /// How long one job may take, from compilation to the last sample.
    pub time_limit: Duration,
}

/// Measures in a worker process. A job that kills the worker or reaches the time limit fails alone: the next job gets a new worker.
#[derive(Debug)]
pub struct WorkerMeasurer {
    options: WorkerOptions,
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

/// What became of a request.
enum Answer {
    Reply(Reply),
    Unreadable(String),
    Died(String),
    Timeout,
}

impl WorkerOptions {
    /// A worker that is this same executable with the argument `worker`.
    pub fn current_executable() -> std::io::Result<WorkerOptions> {
        Ok(WorkerOptions {
            program: std::env::current_exe()?,
            arguments: vec!["worker".into()],
            pin: false,
            time_limit: Duration::from_secs(20),
        })
    }
}

impl WorkerMeasurer {
    /// A measurer whose worker starts with the first job.
    pub fn new(options: WorkerOptions) -> Self {
        WorkerMeasurer { options, worker: None }
    }

    /// Process id of the worker, while there is one.
    pub fn worker_id(&self) -> Option<u32> {
        self.worker.as_ref().map(|worker| worker.child.id())
    }

    fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer, MeasureError> {
        let mut worker = match self.worker.take() {
            Some(worker) => worker,
            None => self.start()?,
        };
        let answer = worker.ask(request, limit)?;
        match &answer {
            Answer::Reply(_) => self.worker = Some(worker),
            Answer::Unreadable(_) | Answer::Died(_) | Answer::Timeout => drop(worker),
        }
        Ok(answer)
    }

    fn start(&self) -> Result<Worker, MeasureError> {
        let mut worker =
            Worker::spawn(&self.options).map_err(|source| MeasureError::Spawn { path: self.options.program.clone(), source })?;
        match worker.ask(&Request::Start { pin: self.options.pin }, self.options.time_limit)? {
            Answer::Reply(Reply::Ready(PROTOCOL)) => Ok(worker),
            Answer::Reply(reply) => Err(self.protocol_error(format!("{reply:?} instead of version {PROTOCOL}"))),
            Answer::Unreadable(line) => Err(self.protocol_error(line)),
            Answer::Died(how) => Err(self.protocol_error(how)),
            Answer::Timeout => Err(self.protocol_error("no answer".into())),
        }
    }

    /// The outcomes of a request; or why all of its jobs fail.
    fn outcomes(&mut self, request: &Request, jobs: usize) -> Result<Result<Vec<Outcome>, Cause>, MeasureError> {
        let limit = self.options.time_limit * jobs.max(1) as u32;
        match self.ask(request, limit)? {
            Answer::Reply(Reply::Outcomes(outcomes)) if outcomes.len() == jobs => Ok(Ok(outcomes)),
            Answer::Reply(reply) => Err(self.protocol_error(format!("{reply:?} instead of {jobs} outcomes"))),
            Answer::Unreadable(line) => Err(self.protocol_error(line)),
            Answer::Died(how) => Ok(Err(Cause::Crash(how))),
            Answer::Timeout => Ok(Err(Cause::Timeout)),
        }
    }

    fn protocol_error(&self, reason: String) -> MeasureError {
        MeasureError::Protocol { path: self.options.program.clone(), reason }
    }
}

impl Measurer for WorkerMeasurer {
    fn measure(&mut self, job: &Job) -> Result<Outcome, MeasureError> {
        let request = Request::Measure(Box::new(job.clone()));
        let outcome = match self.outcomes(&request, 1)? {
            Ok(mut outcomes) => outcomes.remove(0),
            Err(cause) => Outcome::Failed(cause),
        };
        Ok(outcome)
    }

    fn compare(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, MeasureError> {
        match self.outcomes(&Request::Compare(jobs.to_vec()), jobs.len())? {
            Ok(outcomes) => Ok(outcomes),
            // One of them is to blame: alone, each answers for itself.
            Err(_) => jobs.iter().map(|job| self.measure(&Job { incumbent: None, ..job.clone() })).collect(),
        }
    }
}

impl Worker {
    fn spawn(options: &WorkerOptions) -> std::io::Result<Worker> {
        let mut command = Command::new(&options.program);
        command.args(&options.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // An interrupt from the terminal is for the parent, which ends the worker: it must not look like a crash.
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
                // What was read until a failure is all that there is to say.
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

    /// Waits for a worker that has closed its output, and says how it ended.
    fn end(&mut self) -> String {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        match complaints.lines().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("{status}: {}", line.trim()),
            None => status,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only if the worker is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
