//! `run_experiment --model mlp --data mnist`: parses the command line, runs the command, and returns its exit code.

use std::process::ExitCode;

use training::cli::CliError;
use training::commands::{self, Ended};
use training::{process, terminal};

fn main() -> ExitCode {
    // SAFETY: the process has only one thread at this point.
    unsafe { process::keep_memory() };
    process::report_panics();
    let outcome = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation.run(),
        // Writes help to standard output with exit code 0, or a usage error to standard error with exit code 2.
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Other(error)) => Err(error),
    };
    match outcome {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::BySignal(number)) => process::end_by_signal(number),
        Err(error) => {
            terminal::note(format_args!("error: {}", terminal::causes(&error)));
            ExitCode::FAILURE
        }
    }
}
