//! Context for errors of clap: values from a file, and flags of another model or data.

use std::path::Path;

use anyhow::anyhow;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::CliError;
use crate::experiment::registry::{DATA, DataEntry, Flags, MODELS, ModelEntry};

/// Returns the error for a value in a configuration file that is not valid for its flag.
pub fn in_file(error: &clap::Error, file: &Path) -> CliError {
    let text = |kind| error.get(kind).map_or_else(String::new, ToString::to_string);
    let (flag, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) if !known.is_empty() => {
            format!(", expected one of {}", known.join(", "))
        }
        _ => String::new(),
    };
    anyhow!("cannot use the configuration {}: {value:?} is not a value of {flag}{known}", file.display())
        .into()
}

/// Returns whether the flag with the invalid value in `error` is among the `typed` flags. If not, the value is from a file.
pub fn is_typed(error: &clap::Error, typed: &[String]) -> bool {
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return true };
    // The text of the flag is `--lr <LR>`.
    let flag = arg.split(' ').next().unwrap_or_default().trim_start_matches('-');
    error.get(ContextKind::InvalidValue).is_none() || typed.iter().any(|typed| typed == flag)
}

/// Returns the error for an unknown flag, with the models or the data that have the flag, if any.
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
    let message = format!("--{flag} is a flag of {owner}, but {given}\n");
    clap::Error::raw(ErrorKind::UnknownArgument, message).into()
}
