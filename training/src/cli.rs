//! From the command line to flags with layered defaults.
//!
//! The flags depend on the chosen model and data, so `--model` and `--data` are parsed first. The defaults are, from weak to
//! strong: the flag's own, the model's, those of `--config FILE` or of the run that `--resume` continues. Typed flags win.

mod aliases;
mod explain;
mod layers;
mod preparse;

pub use aliases::with_kebab_case;
pub use explain::{in_file, is_typed, of_another};
pub use layers::{read_config, with_config_defaults};
pub use preparse::{Choice, choice, union};

/// The reason why there is nothing to run.
#[derive(Debug)]
pub enum CliError {
    /// Help, version, or a usage error, with clap's message and exit code.
    Clap(Box<clap::Error>),
    /// Any other error.
    Other(anyhow::Error),
}

impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}

impl From<anyhow::Error> for CliError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
