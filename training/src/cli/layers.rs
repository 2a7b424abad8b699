//! Makes the values of a configuration file the defaults of the flags.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Command;
use serde_json::Value;

use crate::experiment::{DataEntry, ModelEntry, flatten};

/// Reads a configuration file.
///
/// # Errors
/// Fails if the file cannot be read or is not a JSON object.
pub fn read_config(path: &Path) -> Result<Value> {
    let failed = || format!("cannot read the configuration {}", path.display());
    let text = fs::read_to_string(path).with_context(failed)?;
    let value: Value = serde_json::from_str(&text).context("the file is not JSON").with_context(failed)?;
    ensure!(value.is_object(), "{}: the file is not a JSON object", failed());
    Ok(value)
}

/// Makes the values of a configuration file the defaults of the flags of the same names.
///
/// # Errors
/// Fails if a name in the file is not a flag of this model and data.
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
        // A section for another model or data does not apply to this one.
        if let Some((_, (kind, name))) = sections.iter().find(|(section, _)| section == key)
            && base[*kind].as_str().is_some_and(|of| of != *name)
        {
            continue;
        }
        let flags = if value.is_object() { flatten(value) } else { vec![(key.clone(), value.clone())] };
        for (flag, value) in flags {
            ensure!(
                known.contains(&flag),
                "cannot use the configuration {}: {flag} is not a flag of the model {} and the data {}",
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

/// Returns a value as text on a command line, or `None` for null.
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
