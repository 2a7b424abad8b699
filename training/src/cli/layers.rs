//! A configuration file as the defaults of flags.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Command;
use serde_json::Value;

use crate::experiment::{DataEntry, ModelEntry, flatten};

/// Reads a configuration file.
///
/// # Errors
/// Fails if it cannot be read or does not hold a JSON object.
pub fn read_config(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    ensure!(value.is_object(), "{} holds no JSON object", path.display());
    Ok(value)
}

/// Makes the values of a configuration file the defaults of the flags of the same names.
///
/// # Errors
/// Fails if the file has a name that is no flag of this model and data.
pub fn with_config_defaults(
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
        // The flags of another model or data are not those of this one.
        if let Some((_, (kind, name))) = sections.iter().find(|(section, _)| section == key)
            && base[*kind].as_str().is_some_and(|of| of != *name)
        {
            continue;
        }
        let flags = if value.is_object() { flatten(value) } else { vec![(key.clone(), value.clone())] };
        for (flag, value) in flags {
            ensure!(
                known.contains(&flag),
                "{}: {flag} is no flag of {} on {}",
                path.display(),
                model.name,
                data.name
            );
            if let Some(text) = text(&value) {
                command = command.mut_arg(&flag, |arg| arg.default_value(text));
            }
        }
    }
    Ok(command)
}

/// Returns a value as it is typed; `None` for null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(text).collect();
            (!texts.is_empty()).then(|| texts.join(","))
        }
        other => Some(other.to_string()),
    }
}
