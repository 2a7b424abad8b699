//! Parses the command line into flags with layered defaults.
//!
//! The flags depend on the model and the data, so that `--model` and `--data` are parsed first. A value on the command line has
//! priority. Then follow the configuration of `--config FILE` or of the run to resume, the defaults of the model and of the
//! data, and the default of the flag.

mod aliases;
mod config_file;
mod explain;
mod layers;
mod preparse;

pub use aliases::with_kebab_case;
pub use config_file::read_config;
pub use explain::{in_file, is_typed, of_another};
pub use layers::with_config_defaults;
pub use preparse::{Choice, check_utf8, choice, union};

/// The reason why no command can run.
#[derive(Debug)]
pub enum CliError {
    /// Help, the version or a usage error, with the message and the exit code of clap.
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
