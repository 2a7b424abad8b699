//! `run_experiment --model mlp --data mnist`: parses the command line, runs the command, and returns its exit code.

use std::process::ExitCode;

use training::cli::CliError;
use training::{commands, process, terminal};

fn main() -> ExitCode {
    // SAFETY: the process has only one thread at this point.
    unsafe { process::keep_memory() };
    let outcome = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation.run(),
        // Writes help to standard output with exit code 0, or a usage error to standard error with exit code 2.
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Other(error)) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        terminal::note(format_args!("error: {}", terminal::causes(&error)));
        ExitCode::FAILURE
    })
}
