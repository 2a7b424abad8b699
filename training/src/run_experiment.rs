//! `run_experiment --model mlp --data mnist`: parse, dispatch, and an exit code.

use std::process::ExitCode;

use training::cli::CliError;
use training::{commands, process, terminal};

fn main() -> ExitCode {
    // SAFETY: there is one thread yet.
    unsafe { process::keep_memory() };
    let outcome = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation.run(),
        // Help goes to standard output with exit code 0, a usage error to standard error with 2.
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Other(error)) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        terminal::note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
