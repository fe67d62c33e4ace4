//! The command line of Sonar. Results go to standard output, everything else to standard error.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the command line |
//! | [`commands`] | one function for each command |
//! | [`machine`] | machine parameters for time estimates |
//! | [`model`] | from files to graphs, and from graphs to models that run |
//! | [`emit`] | files for programs without Sonar |
//! | [`roofline`] | the limits of the machine, and how close a kernel comes to them |
//! | [`report`] | HTML pages and their pictures |
//! | [`terminal`] | standard output and standard error |
//! | [`exit`] | exit codes, and how errors are printed |

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod emit;
mod exit;
mod json;
mod machine;
mod model;
mod report;
mod roofline;
mod terminal;

use args::{Cli, Command};
use exit::Failure;
use std::process::ExitCode;
use terminal::{interrupt, log, stderr};

fn main() -> ExitCode {
    interrupt::catch();
    let cli = Cli::read();
    machine::choose(cli.machine.clone());
    exit::set_look();
    match log::begin(cli.verbose, cli.quiet).and_then(|()| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            stderr::leave();
            stderr::say(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Every subcommand is one function.
fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Search(args) => commands::search::search(args, cli.quiet),
        Command::Resume(args) => commands::search::resume(args, cli.quiet),
        Command::Train(args) => commands::train::train(args, cli.quiet),
        Command::Tune(args) => commands::tune::tune(args, cli.quiet),
        Command::Compile(args) => commands::compile::compile(args),
        Command::Run(args) => commands::run::run(args),
        Command::Bench(args) => commands::bench::bench(args),
        Command::Inspect(args) => commands::inspect::inspect(args),
        Command::Check(args) => commands::check::check(args),
        Command::Export(args) => commands::export::export(args),
        Command::Report(args) => commands::report::report(args),
        Command::Db(args) => commands::db::db(args),
        Command::Doctor(args) => commands::doctor::doctor(args),
        Command::Completions { shell } => {
            commands::completions(*shell);
            Ok(())
        }
        Command::Worker => commands::worker(),
    }
}
