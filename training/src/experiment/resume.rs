//! Finds the run to resume, and checks the flags that a resumed run may change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use text_recognizer::data::MnistConfig;

use super::config::{FolderConfig, RunConfig, flatten};
use crate::time_series::BaselineConfig;
use crate::trainer::{LrFindConfig, TrainerConfig, config_in, last_in};

/// A run to resume.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The run's folder.
    pub folder: PathBuf,
    /// The checkpoint in the folder.
    pub checkpoint: PathBuf,
}

impl Resume {
    fn in_folder(folder: PathBuf) -> Self {
        let checkpoint = last_in(&folder);
        Self { folder, checkpoint }
    }

    /// Returns the path of the run's configuration.
    pub fn config(&self) -> PathBuf {
        config_in(&self.folder)
    }
}

/// Finds the run of `--resume`: a checkpoint, a run's folder, or `last` for the run in `log_dir` with the latest checkpoint, of
/// this model and data if they are given.
///
/// # Errors
/// Fails if there is no such run.
pub fn find_resume(given: &Path, model: Option<&str>, data: Option<&str>, log_dir: &Path) -> Result<Resume> {
    if given == Path::new("last") && !given.exists() {
        return last_saved(log_dir, model, data);
    }
    if given.is_file() {
        let folder = given.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        return Ok(Resume { folder: folder.to_owned(), checkpoint: given.to_owned() });
    }
    let resume = Resume::in_folder(given.to_owned());
    if !resume.checkpoint.is_file() {
        bail!(
            "cannot resume {}: found neither a checkpoint nor a run's folder with {}",
            given.display(),
            resume.checkpoint.display()
        );
    }
    Ok(resume)
}

fn last_saved(log_dir: &Path, model: Option<&str>, data: Option<&str>) -> Result<Resume> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let runs = entries(log_dir).flat_map(|runs| entries(&runs)).map(Resume::in_folder);
    let saved = runs.filter_map(|run| Some((run.checkpoint.metadata().ok()?.modified().ok()?, run)));
    let wanted = saved.filter(|(_, run)| (model.is_none() && data.is_none()) || is_of(run, model, data));
    let last = wanted.max_by_key(|(time, _)| *time).map(|(_, run)| run);
    last.with_context(|| {
        let of =
            |kind: &str, name: Option<&str>| name.map_or(String::new(), |name| format!(" of {kind} {name}"));
        let (model, data) = (of("model", model), of("data", data));
        format!(
            "cannot resume the last run: found no run{model}{data} with a checkpoint in {}",
            log_dir.display()
        )
    })
}

/// Returns whether a run has this model and data, from its configuration, because `--name` can change the name of the folder.
fn is_of(run: &Resume, model: Option<&str>, data: Option<&str>) -> bool {
    let config =
        fs::read_to_string(run.config()).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
    config.is_some_and(|config| {
        let is =
            |key: &str, wanted: Option<&str>| wanted.is_none_or(|name| config[key].as_str() == Some(name));
        is("model", model) && is("data", data)
    })
}

/// Returns the flags that a resumed run may change: its budget, its outputs and its device.
pub fn free() -> impl Iterator<Item = &'static str> {
    let groups = [MnistConfig::FREE, FolderConfig::FREE, LrFindConfig::FREE, BaselineConfig::FREE];
    TrainerConfig::free().chain(groups.into_iter().flatten().copied())
}

/// Checks that `config` continues the experiment of the configuration `before`.
///
/// # Errors
/// Fails if a flag has another value, except those in [`free`]. The message lists all such flags.
pub fn check_resume(before: &RunConfig, config: &RunConfig) -> Result<()> {
    let (old, new) = (flatten(&serde_json::to_value(before)?), flatten(&serde_json::to_value(config)?));
    let old_value = |flag: &str| {
        old.iter().find(|(name, _)| name == flag).map_or(Value::Null, |(_, value)| value.clone())
    };
    let changed: Vec<String> = new
        .iter()
        .filter(|(flag, _)| !free().any(|free| free == flag))
        .map(|(flag, value)| (flag, old_value(flag), value))
        .filter(|(_, old, new)| show(old) != show(new))
        .map(|(flag, old, new)| format!("  --{flag}: {} -> {}", show(&old), show(new)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!(
        "cannot resume with different values for:\n{}\ntry without these flags, or start a new run (--load_checkpoint starts it \
         from these weights)",
        changed.join("\n")
    )
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
