//! Errors of clap in terms of this program: values from a file, and flags of another model.

use std::ffi::OsString;
use std::path::Path;

use anyhow::anyhow;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::CliError;
use crate::experiment::registry::{DATA, DataEntry, Flags, MODELS, ModelEntry};

/// Reports a value of a configuration file that its flag does not take.
pub fn in_file(error: &clap::Error, file: &Path) -> CliError {
    let text = |kind| error.get(kind).map_or_else(String::new, ToString::to_string);
    let (flag, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    anyhow!("{}: {value:?} is no value of {flag}", file.display()).into()
}

/// Returns whether the value that `error` is about is on the command line; if not, it came from a file.
pub fn is_typed(error: &clap::Error, args: &[OsString]) -> bool {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return true };
    args.iter().any(|arg| arg.to_string_lossy().ends_with(value))
}

/// Reports of an unknown flag to which model or data it belongs, if it belongs to any.
pub fn of_another(error: clap::Error, model: &ModelEntry, data: &DataEntry) -> CliError {
    if error.kind() != ErrorKind::UnknownArgument {
        return error.into();
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error.into();
    };
    let flag = flag.trim_start_matches('-').split('=').next().unwrap_or_default().replace('-', "_");
    let has = |flags: &Flags| {
        (flags.augment)(Command::new("")).get_arguments().any(|arg| arg.get_long() == Some(&flag))
    };
    let models: Vec<&str> = MODELS.iter().filter(|entry| has(&entry.flags)).map(|entry| entry.name).collect();
    let modules: Vec<&str> = DATA.iter().filter(|entry| has(&entry.flags)).map(|entry| entry.name).collect();
    let (owner, given) = match (models.is_empty(), modules.is_empty()) {
        (false, _) => (format!("--model {}", models.join(", ")), format!("the model is {}", model.name)),
        (true, false) => (format!("--data {}", modules.join(", ")), format!("the data is {}", data.name)),
        (true, true) => return error.into(),
    };
    let message = format!("--{flag} is a flag of {owner}; here {given}\n");
    clap::Error::raw(ErrorKind::UnknownArgument, message).into()
}
