//! A configuration file as the defaults of flags.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Command;
use clap::error::ContextKind;
use serde_json::Value;

use super::CliError;
use crate::registry::{DataEntry, ModelEntry};

pub(super) fn read_config(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    ensure!(value.is_object(), "{} holds no JSON object", path.display());
    Ok(value)
}

/// Makes the values of a configuration file the defaults of the flags of the same names.
pub(super) fn with_config_defaults(
    mut command: Command,
    base: &Value,
    path: &Path,
    model: &ModelEntry,
    data: &DataEntry,
) -> Result<Command> {
    let sections = [("model_config", ("model", model.name)), ("data_config", ("data", data.name))];
    let known: Vec<String> =
        command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    for (key, value) in base.as_object().into_iter().flatten() {
        // The flags of another model say nothing about this one.
        if let Some((_, (kind, name))) = sections.iter().find(|(section, _)| section == key)
            && base[*kind].as_str().is_some_and(|of| of != *name)
        {
            continue;
        }
        for (flag, value) in leaves(key, value) {
            ensure!(
                known.contains(&flag),
                "{}: {flag} is no flag of {} on {}",
                path.display(),
                model.name,
                data.name
            );
            if let Some(value) = value {
                command = command.mut_arg(&flag, |arg| arg.default_value(value));
            }
        }
    }
    Ok(command)
}

/// The flags and values in a configuration, however deep; `None` for null.
pub(super) fn leaves(key: &str, value: &Value) -> Vec<(String, Option<String>)> {
    match value {
        Value::Object(object) => object.iter().flat_map(|(key, value)| leaves(key, value)).collect(),
        Value::Null => vec![(key.into(), None)],
        Value::String(text) => vec![(key.into(), Some(text.clone()))],
        Value::Array(items) if items.is_empty() => vec![(key.into(), None)],
        Value::Array(items) => {
            let texts =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            vec![(key.into(), Some(texts.collect::<Vec<_>>().join(",")))]
        }
        other => vec![(key.into(), Some(other.to_string()))],
    }
}

pub(super) fn in_file(error: &clap::Error, file: &Path) -> CliError {
    let text = |kind| error.get(kind).map_or_else(String::new, ToString::to_string);
    let (flag, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    anyhow!("{}: {value:?} is no value of {flag}", file.display()).into()
}
