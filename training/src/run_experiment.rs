//! `run_experiment --model mlp --data mnist`: parse, run, and an exit code.

use std::process::ExitCode;

use training::cli::{self, CliError, Invocation};
use training::{doctor, run};

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(run)) => run::run(&run),
        Ok(Invocation::Doctor) => doctor::run().map(|()| ExitCode::SUCCESS),
        // Help goes to standard output with exit code 0, a usage error to standard error with 2.
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Other(error)) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
