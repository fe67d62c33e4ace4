//! The worker's side of the protocol: it measures candidates on request.
//!
//! A worker isolates crashes, so it may die or hang at any time. [`WorkerMeasurer`](super::WorkerMeasurer) is the other side.

use super::local::LocalMeasurer;
use super::protocol::{PROTOCOL, Reply, Request};
use crate::timing::job::Measurer;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long a worker may continue after its input has ended.
const GRACE: Duration = Duration::from_secs(1);

/// Answers requests until the input ends.
///
/// The input also ends if the process on the other side dies. If a request is in progress then, this process ends after a short
/// time, so that no worker stays behind in an endless loop.
pub fn serve(input: impl Read + Send + 'static, mut output: impl Write) -> std::io::Result<()> {
    let (sender, requests) = mpsc::channel();
    let ended = Arc::new(AtomicBool::new(false));
    let watched = Arc::clone(&ended);
    std::thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
        drop(sender);
        std::thread::sleep(GRACE);
        if !watched.load(Ordering::Acquire) {
            std::process::exit(1);
        }
    });

    let mut measurer = LocalMeasurer::default();
    let result = requests.iter().try_for_each(|line| {
        let reply = answer(&mut measurer, &line);
        serde_json::to_writer(&mut output, &reply)?;
        output.write_all(b"\n")?;
        output.flush()
    });
    ended.store(true, Ordering::Release);
    result
}

fn answer(measurer: &mut LocalMeasurer, line: &str) -> Reply {
    let before = measurer.running();
    let outcomes = match serde_json::from_str(line) {
        Ok(Request::Start { pin, memory }) => {
            if pin {
                sonar_codegen::pin_to_one_processor();
            }
            return match sonar_codegen::limit_memory(memory) || !cfg!(unix) {
                true => Reply::Ready(PROTOCOL),
                false => Reply::Refused("the memory of this process cannot be bounded".into()),
            };
        }
        Ok(Request::Measure(job)) => measurer.measure(&job).map(|outcome| vec![outcome]),
        Ok(Request::Compare(jobs)) => measurer.compare(&jobs),
        Err(error) => return Reply::Refused(format!("the request is unreadable: {error}")),
    };
    let running = (measurer.running() - before).as_secs_f64();
    outcomes.map_or_else(|error| Reply::Refused(error.to_string()), |outcomes| Reply::Outcomes(outcomes, running))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(input: &str) -> Vec<Reply> {
        let mut output = Vec::new();
        serve(std::io::Cursor::new(input.to_owned()), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_worker_answers_line_by_line() {
        let replies = replies("{\"start\":{\"pin\":false,\"memory\":1000000000000}}\nnonsense\n{\"compare\":[]}\n");
        assert_eq!(replies[0], Reply::Ready(PROTOCOL));
        assert!(matches!(&replies[1], Reply::Refused(why) if why.contains("unreadable")));
        assert_eq!(replies[2], Reply::Outcomes(vec![], 0.0));
        assert_eq!(replies.len(), 3);
    }
}
