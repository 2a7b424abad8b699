//! `run_experiment --model mlp --data mnist`: parse, run, and an exit code.

use std::process::ExitCode;

use training::cli::{self, CliError, Invocation};
use training::{doctor, process, run, say};

fn main() -> ExitCode {
    process::keep_memory();
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(run)) => {
            if run.config.trainer.threads != Some(1) {
                process::wait_briefly();
            }
            say::start(run.args.level());
            run::run(&run)
        }
        Ok(Invocation::Forecast(args)) => run::run_forecast(&args).map(|()| ExitCode::SUCCESS),
        Ok(Invocation::Doctor) => doctor::run().map(|()| ExitCode::SUCCESS),
        // Help goes to standard output with exit code 0, a usage error to standard error with 2.
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Other(error)) => Err(error),
    };
    outcome.unwrap_or_else(|error| {
        say::note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
