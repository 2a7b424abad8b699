//! What was typed: looked at before clap knows which flags there are, and explained where clap does not know them.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::CliError;
use crate::registry::{self, DataEntry, ModelEntry};

/// `--max-epochs=3` as `--max_epochs=3`.
pub(super) fn snake_case(arg: OsString) -> OsString {
    let Some(text) = arg.to_str().and_then(|text| text.strip_prefix("--")) else {
        return arg;
    };
    let (flag, value) = text.split_once('=').map_or((text, None), |(flag, value)| (flag, Some(value)));
    let flag = flag.replace('-', "_");
    match value {
        Some(value) => format!("--{flag}={value}").into(),
        None => format!("--{flag}").into(),
    }
}

/// The value of a flag, before clap knows which flags there are.
pub(super) fn value_of(args: &[OsString], flag: &str) -> Option<String> {
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    let mut found = None;
    while let Some(arg) = args.next() {
        if arg == flag {
            found = args.next().map(str::to_owned);
        } else if let Some(value) = arg.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
            found = Some(value.to_owned());
        }
    }
    found
}

/// Says of an unknown flag whose it is, if it is another model's.
pub(super) fn explain(error: clap::Error, model: &ModelEntry, data: &DataEntry) -> CliError {
    if error.kind() != ErrorKind::UnknownArgument {
        return error.into();
    }
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error.into();
    };
    let flag = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
    let has = |augment: fn(Command) -> Command| {
        augment(Command::new("")).get_arguments().any(|arg| arg.get_long() == Some(flag))
    };
    let models = registry::all_models();
    let models: Vec<&str> =
        models.iter().filter(|entry| has(entry.flags.augment)).map(|entry| entry.name).collect();
    let modules = registry::data_modules();
    let modules: Vec<&str> =
        modules.iter().filter(|entry| has(entry.flags.augment)).map(|entry| entry.name).collect();
    let (owner, given) = match (models.is_empty(), modules.is_empty()) {
        (false, _) => (format!("--model {}", models.join(", ")), format!("the model is {}", model.name)),
        (true, false) => (format!("--data {}", modules.join(", ")), format!("the data is {}", data.name)),
        (true, true) => return error.into(),
    };
    let message = format!("--{flag} is a flag of {owner}; here {given}\n");
    clap::Error::raw(ErrorKind::UnknownArgument, message).into()
}

/// Whether the value that `error` complains of is on the command line; if not, it came from a file.
pub(super) fn is_typed(error: &clap::Error, args: &[OsString]) -> bool {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return true };
    args.iter().any(|arg| arg.to_string_lossy().ends_with(value))
}
