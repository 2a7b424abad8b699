//! `run_experiment --model mlp --data mnist`: parse, run, and an exit code.

use std::process::ExitCode;

use training::cli::{self, CliError, Invocation};
use training::{doctor, run, say};

fn main() -> ExitCode {
    keep_memory();
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(run)) => {
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

/// Has the allocator keep the memory that a step frees for the next one. Otherwise glibc gives it back to the system and gets
/// it again page by page: several per cent of a step.
fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets two numbers of the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 30);
    }
}
