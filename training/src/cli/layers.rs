//! Makes the values of a configuration file the defaults of the flags.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clap::Command;
use serde_json::{Map, Value};

use crate::experiment::{DataEntry, ModelEntry};

/// The objects of a `config.json` that group flags. They may be nested in any way, and all are optional.
const SECTIONS: &[&str] = &[
    "averaging",
    "baselines",
    "budget",
    "checkpoint",
    "data_config",
    "device",
    "early_stopping",
    "ensemble",
    "folder",
    "folds",
    "gradients",
    "levels",
    "lit",
    "loaders",
    "logging",
    "lr_find",
    "model_config",
    "nonfinite",
    "optimizer",
    "roles",
    "schedule",
    "source",
    "time",
    "trainer",
    "validation",
    "windows",
];

/// The flags that describe one call of the program, and not a run.
const OF_A_CALL: &[&str] = &[
    "allow_changed_data",
    "config",
    "help",
    "json",
    "log_level",
    "print_config",
    "quiet",
    "resume",
    "version",
];

/// Makes the values of a configuration file the defaults of the flags of the same names.
///
/// # Errors
/// Fails if a name in the file is neither a section nor a flag of this model and data, if a flag appears in two places, and if a
/// value has a type that no flag has.
pub fn with_config_defaults(
    mut command: Command,
    base: &Value,
    path: &Path,
    model: &ModelEntry,
    data: &DataEntry,
) -> Result<Command> {
    let failed = || format!("cannot use the configuration {}", path.display());
    let mut layer = Layer { model, data, base, command: &command, values: BTreeMap::new() };
    if let Some(object) = base.as_object() {
        layer.add(object, None).with_context(failed)?;
    }
    for (flag, (value, _)) in layer.values {
        if let Some(text) = value {
            command = command.mut_arg(&flag, |arg| arg.default_value(text));
        }
    }
    Ok(command)
}

/// The values of a file, and the flags that they are for.
struct Layer<'a> {
    model: &'a ModelEntry,
    data: &'a DataEntry,
    base: &'a Value,
    command: &'a Command,
    /// For each flag its text on a command line, `None` for null, and the place of the value in the file.
    values: BTreeMap<String, (Option<String>, String)>,
}

impl Layer<'_> {
    /// Adds the values of an object: of the whole file, or of a section.
    fn add(&mut self, object: &Map<String, Value>, section: Option<&str>) -> Result<()> {
        for (key, value) in object {
            // As on the command line, a name may have dashes.
            let key = &key.replace('-', "_");
            ensure!(
                !OF_A_CALL.contains(&key.as_str()),
                "{key} is not a value of a configuration; give --{key} on the command line"
            );
            let is_section = SECTIONS.contains(&key.as_str());
            match value {
                Value::Object(_) if !is_section => {
                    bail!("{key} is not a section, expected one of {}", SECTIONS.join(", "))
                }
                Value::Object(_) if section.is_none() && self.is_of_another(key) => {}
                Value::Object(flags) => self.add(flags, Some(key))?,
                Value::Null if is_section => {}
                _ => self.add_flag(key, value, section)?,
            }
        }
        Ok(())
    }

    /// Returns whether a section is for a model or data that is not the one in use.
    fn is_of_another(&self, section: &str) -> bool {
        let (kind, name) = match section {
            "model_config" => ("model", self.model.name),
            "data_config" => ("data", self.data.name),
            _ => return false,
        };
        self.base[kind].as_str().is_some_and(|of| of != name)
    }

    fn add_flag(&mut self, flag: &str, value: &Value, section: Option<&str>) -> Result<()> {
        let place =
            section.map_or_else(|| "at the top level".to_owned(), |section| format!("in section {section}"));
        let arg = self.command.get_arguments().find(|arg| arg.get_long() == Some(flag));
        let Some(arg) = arg else {
            ensure!(!SECTIONS.contains(&flag), "{flag} is {value}, expected a section of flags");
            bail!("{flag} is not a flag of the model {} and the data {}", self.model.name, self.data.name)
        };
        ensure!(
            section.is_none() || !["model", "data"].contains(&flag),
            "{flag} is {place}, expected it at the top level"
        );
        let text = text(value, arg.get_value_delimiter()).with_context(|| format!("{flag} is {value}"))?;
        if let Some((_, other)) = self.values.insert(flag.to_owned(), (text, place.clone())) {
            bail!("{flag} is given twice: {other} and {place}");
        }
        Ok(())
    }
}

/// Returns a value as text on a command line, where `delimiter` separates the items of a list; `None` for null and an empty
/// list.
fn text(value: &Value, delimiter: Option<char>) -> Result<Option<String>> {
    let items = match value {
        Value::Null => return Ok(None),
        Value::Array(items) if items.is_empty() => return Ok(None),
        Value::Array(items) => items,
        value => return scalar(value).map(Some),
    };
    let delimiter = delimiter.context("expected one value instead of a list")?;
    let texts = items.iter().map(scalar).collect::<Result<Vec<_>>>()?;
    ensure!(!texts.iter().any(|text| text.contains(delimiter)), "expected items without {delimiter:?}");
    Ok(Some(texts.join(&delimiter.to_string())))
}

fn scalar(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => bail!("expected items that are text, numbers or booleans"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::commands;
    use crate::experiment::registry::{self, DATA, MODELS};

    fn error(base: &Value) -> String {
        let (model, data) = (registry::model("gru").unwrap(), registry::data("csv").unwrap());
        let command = commands::command(model, data);
        let applied = with_config_defaults(command, base, Path::new("c.yaml"), model, data);
        applied.map_or_else(|error| format!("{error:#}"), |_| "no error".into())
    }

    #[test]
    fn with_config_defaults_wrong_name_or_value_fails_with_the_file_and_the_name() {
        for (base, expected) in [
            (json!({"max_epoch": 1}), "max_epoch is not a flag of the model gru and the data csv"),
            (json!({"trainr": {"max_epochs": 1}}), "trainr is not a section, expected one of averaging"),
            (json!({"trainer": {"budgets": {}}}), "budgets is not a section"),
            (json!({"lr": {"value": 1}}), "lr is not a section"),
            (
                json!({"resume": "last"}),
                "resume is not a value of a configuration; give --resume on the command line",
            ),
            (json!({"trainer": {"config": "a.json"}}), "config is not a value of a configuration"),
            (json!({"print_config": true}), "give --print_config on the command line"),
            (json!({"json": true}), "json is not a value"),
            (json!({"quiet": true}), "quiet is not a value"),
            (json!({"log_level": "warn"}), "log_level is not a value"),
            (
                json!({"trainer": {"model": "gru"}}),
                "model is in section trainer, expected it at the top level",
            ),
            (json!({"trainer": {"seed": 1}, "seed": 1}), "seed is given twice: "),
            (json!({"max-epochs": 1, "max_epochs": 1}), "max_epochs is given twice: at the top level and"),
            (
                json!({"trainer": {"lr": 1}, "lit": {"lr": null}}),
                "lr is given twice: in section lit and in section trainer",
            ),
            (json!({"lr": [0.1, 0.2]}), "lr is [0.1,0.2]: expected one value instead of a list"),
            (json!({"lr": [0.1]}), "expected one value"),
            (json!({"value_columns": [["a"]]}), "value_columns is [[\"a\"]]: expected items that are text"),
            (json!({"value_columns": ["a", null]}), "expected items that are text"),
            (json!({"value_columns": [{"a": 1}]}), "expected items that are text"),
            (json!({"value_columns": ["a,b"]}), "expected items without ','"),
            (json!({"trainer": 3}), "trainer is 3, expected a section of flags"),
            (json!({"model_config": []}), "model_config is [], expected a section of flags"),
        ] {
            let error = error(&base);
            assert!(error.starts_with("cannot use the configuration c.yaml: "), "{base}: {error}");
            assert!(error.contains(expected), "{base}: {error}");
        }
        for base in [
            json!({"model": "mlp", "model_config": {"no_flag": 1}}),
            json!({"trainer": null, "lr": null, "lr_find": "only"}),
            json!({"max-epochs": 3, "model-config": {"units": 4}}),
            json!({"lr_find": {"lr_find": "only"}, "value_columns": ["a", "b"], "csv": "a.csv", "lit": {"lr": 1}}),
        ] {
            assert_eq!(error(&base), "no error", "{base}");
        }
    }

    /// Adds the names of the objects, and of all other values, at any depth.
    fn names(config: &Value, sections: &mut BTreeSet<String>, flags: &mut BTreeSet<String>) {
        for (key, value) in config.as_object().into_iter().flatten() {
            if value.is_object() {
                sections.insert(key.clone());
                names(value, sections, flags);
            } else {
                flags.insert(key.clone());
            }
        }
    }

    #[test]
    fn sections_and_flags_of_a_call_are_those_of_every_model_and_data() {
        let (mut sections, mut of_a_call) = (BTreeSet::new(), BTreeSet::from(["help".to_owned()]));
        for model in MODELS.iter() {
            for data in DATA.iter().filter(|data| registry::check_pair(model, data).is_ok()) {
                let args = ["run_experiment", "--model", model.name, "--data", data.name, "--csv", "a.csv"];
                let args = if data.name == "csv" { &args[..] } else { &args[..5] };
                let invocation = commands::parse(args.iter().map(Into::into)).unwrap();
                let commands::Invocation::Fit(fit) = invocation else { panic!("{args:?}") };
                let mut flags = BTreeSet::new();
                names(&serde_json::to_value(fit.config()).unwrap(), &mut sections, &mut flags);
                let command = commands::command(model, data);
                let all = command.get_arguments().filter_map(|arg| arg.get_long());
                of_a_call.extend(all.filter(|flag| !flags.contains(*flag)).map(str::to_owned));
            }
        }
        // The sections that a backtest adds.
        sections.extend(["ensemble", "folds"].map(str::to_owned));
        assert_eq!(sections.iter().collect::<Vec<_>>(), SECTIONS);
        assert_eq!(of_a_call.iter().collect::<Vec<_>>(), OF_A_CALL);
    }
}
