//! One module per subcommand. Each is a function from its options to its output.

pub mod bench;
pub mod check;
pub mod compile;
pub mod db;
pub mod doctor;
pub mod export;
pub mod inspect;
pub mod report;
pub mod run;
pub mod search;
pub mod train;
pub mod tune;

use crate::args::Cli;
use crate::exit::{Exit, Failure, fail};
use crate::terminal::output::out;
use clap::CommandFactory;

/// `completions`: a completion script on standard output.
pub fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sonar-compile", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
}

/// `worker`: serves measurements until standard input ends.
pub fn worker() -> Result<(), Failure> {
    let served = sonar_measure::worker::serve(std::io::stdin(), std::io::stdout());
    served.map_err(|error| fail(Exit::Internal, format!("serving measurements over standard input and output: {error}")))
}
