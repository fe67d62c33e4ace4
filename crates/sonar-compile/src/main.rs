//! The command line of Sonar. Results go to standard output, everything else to standard error.

mod annotate;
mod args;
mod commands;
mod compiled;
mod emit;
mod exit;
mod interrupt;
mod load;
mod output;
mod progress;
mod report;
mod roofline;
mod side_by_side;
mod table;

use args::{Cli, Command};
use clap::Parser;
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    init_log(cli.verbose, cli.quiet);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Every subcommand is one function.
fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Search(args) => commands::search::search(args, cli.quiet),
        Command::Resume(args) => commands::search::resume(args, cli.quiet),
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

/// Log lines on standard error: warnings, and more with `-v`; `SONAR_LOG` takes `tracing` filters.
fn init_log(verbose: u8, quiet: bool) {
    use tracing_subscriber::EnvFilter;
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = EnvFilter::try_from_env("SONAR_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).without_time().init();
}
