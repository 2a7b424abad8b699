//! Finds the run to resume, and checks the flags that a resumed run may change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use text_recognizer::data::{DataIdentity, MnistConfig};
use text_recognizer::util::files::read_limited;

use super::config::{FolderConfig, RunConfig, flatten};
use super::registry::{self, ModelKind};
use crate::time_series::{BaselineConfig, CsvConfig, LevelConfig};
use crate::trainer::checkpointing::ResumePoint;
use crate::trainer::{AfterLrFind, LrFindConfig, TrainerConfig, check_links, config_in, last_in, result_in};

/// A run to resume.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The run's folder.
    pub folder: PathBuf,
    /// The checkpoint in the folder; `None` if the run was killed before its first one and starts again.
    pub checkpoint: Option<PathBuf>,
    /// The folder of a later run that `last` passed over, because it trains nothing.
    pub passed_over: Option<PathBuf>,
    /// Whether the data may have changed.
    pub allow_changed_data: bool,
}

impl Resume {
    /// Returns the run in a folder, from its last checkpoint if it has one.
    pub fn in_folder(folder: PathBuf) -> Self {
        let checkpoint = Some(last_in(&folder)).filter(|last| last.exists());
        Self { folder, checkpoint, passed_over: None, allow_changed_data: false }
    }

    /// Returns the path of the run's configuration.
    pub fn config(&self) -> PathBuf {
        config_in(&self.folder)
    }

    /// Returns whether the folder is that of a backtest.
    pub fn is_backtest(&self) -> bool {
        config_of(self)["folds"].is_object()
    }

    /// Reads the checkpoint; `None` if the run has none.
    ///
    /// # Errors
    /// Fails if a file is missing or damaged, or the checkpoint contains only weights.
    pub fn read(&self) -> Result<Option<ResumePoint>> {
        self.checkpoint.as_deref().map(ResumePoint::read).transpose()
    }

    /// Checks that `config` continues the experiment of the checkpoint, also if the configuration file was edited since.
    ///
    /// # Errors
    /// Fails if a flag has another value, except those in [`free`]. The message lists all such flags.
    pub fn check_config(&self, from: &ResumePoint, config: &RunConfig) -> Result<()> {
        let before = flatten(&from.weights.metadata["run"]);
        let known = |flag: &str| before.iter().any(|(name, _)| name == flag);
        let new = flatten(&serde_json::to_value(config)?);
        // A checkpoint of an earlier version does not have every flag.
        check_same(&before, new.into_iter().filter(|(flag, _)| known(flag)))
    }

    /// Checks that the data of a run is that of its checkpoint.
    ///
    /// # Errors
    /// Fails if the data has changed, unless this is allowed; the error describes the changes.
    pub fn check_data(&self, from: &ResumePoint, data: Option<&DataIdentity>) -> Result<()> {
        let before = &from.weights.metadata["data"];
        let (Some(data), false) = (data, before.is_null()) else {
            log::warn!("cannot check that the data is still the same: the checkpoint does not describe it");
            return Ok(());
        };
        let before = DataIdentity::deserialize(before).context("cannot read the data of the checkpoint")?;
        let Some(difference) = before.difference(data) else {
            if !before.is_comparable(data) {
                log::warn!(
                    "cannot check that the values are still the same: the checkpoint is of an earlier version"
                );
            }
            return Ok(());
        };
        if self.allow_changed_data {
            log::warn!("the data has changed: {difference}");
            return Ok(());
        }
        bail!(
            "cannot resume {} with other data: found {difference}; try the data of the run, or --allow_changed_data to continue \
             all the same",
            self.folder.display()
        )
    }
}

/// Finds the run of `--resume`: a checkpoint, a run's folder, or `last` for the latest run in `log_dir`, of this model and data
/// if they are given.
///
/// # Errors
/// Fails if there is no such run, or if it has a link to a place outside of its folder.
pub fn find_resume(given: &Path, model: Option<&str>, data: Option<&str>, log_dir: &Path) -> Result<Resume> {
    let resume = find(given, model, data, log_dir)?;
    check_links(&resume.folder)?;
    if resume.is_backtest() {
        if let Some(result) = result_in(&resume.folder) {
            bail!(
                "cannot resume {}: the backtest is finished, found {}; try a new backtest",
                resume.folder.display(),
                result.display()
            );
        }
        return Ok(resume);
    }
    if let Some(why) = untrained(&config_of(&resume)) {
        bail!("cannot resume {}: {why}; try a new run", resume.folder.display());
    }
    if resume.checkpoint.is_none()
        && let Some(result) = result_in(&resume.folder)
    {
        bail!(
            "cannot resume {}: found {} but not {}, which a resumed run continues from; try --load_checkpoint, which starts a new \
             run from weights, or --config {}, which repeats the run",
            resume.folder.display(),
            result.display(),
            last_in(&resume.folder).display(),
            resume.config().display()
        );
    }
    Ok(resume)
}

fn find(given: &Path, model: Option<&str>, data: Option<&str>, log_dir: &Path) -> Result<Resume> {
    if given == Path::new("last") && !given.exists() {
        return last_run(log_dir, model, data);
    }
    if given.is_file() {
        return of_checkpoint(given);
    }
    let resume = Resume::in_folder(given.to_owned());
    if !resume.config().is_file() {
        bail!(
            "cannot resume {}: found neither a checkpoint nor the folder of a run, with {}",
            given.display(),
            resume.config().display()
        );
    }
    Ok(resume)
}

/// Returns the run of a checkpoint, RUN/checkpoints/FILE.
fn of_checkpoint(file: &Path) -> Result<Resume> {
    let folder_of = |file: &Path| Some(file.parent()?.parent()?.to_owned());
    // A file in the current folder has its parents only as an absolute path.
    let folder = match folder_of(file) {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::absolute(file).ok().as_deref().and_then(folder_of).unwrap_or_default(),
    };
    let resume = Resume { checkpoint: Some(file.to_owned()), ..Resume::in_folder(folder) };
    if !resume.config().is_file() {
        bail!(
            "cannot resume {}: found no {}, expected the last checkpoint in the folder of a run; try --load_checkpoint, which \
             starts a new run from weights",
            file.display(),
            resume.config().display()
        );
    }
    Ok(resume)
}

/// Returns the latest run: the one whose checkpoint, or configuration if it has no checkpoint yet, was written last.
fn last_run(log_dir: &Path, model: Option<&str>, data: Option<&str>) -> Result<Resume> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let modified = |path: &Path| path.metadata().ok()?.modified().ok();
    let runs = entries(log_dir).flat_map(|runs| entries(&runs)).map(Resume::in_folder);
    let written = runs.filter_map(|run| {
        let config = modified(&run.config()).filter(|_| run.config().is_file())?;
        let time = run.checkpoint.as_deref().and_then(modified).map_or(config, |last| last.max(config));
        // `--name` can change the name of the folder.
        let config = config_of(&run);
        let is = |key: &str, wanted: Option<&str>| wanted.is_none() || config[key].as_str() == wanted;
        let wanted = is("model", model) && is("data", data);
        wanted.then(|| (time, untrained(&config).is_some(), run))
    });
    let (others, trained): (Vec<_>, Vec<_>) = written.partition(|(_, untrained, _)| *untrained);
    let latest = |runs: Vec<(SystemTime, bool, Resume)>| {
        runs.into_iter().max_by_key(|(time, ..)| *time).map(|(time, _, run)| (time, run))
    };
    let (passed, last) = (latest(others), latest(trained));
    let (time, last) = last.with_context(|| {
        let of =
            |kind: &str, name: Option<&str>| name.map_or(String::new(), |name| format!(" of {kind} {name}"));
        let (model, data) = (of("model", model), of("data", data));
        format!("cannot resume the last run: found no run{model}{data} to resume in {}", log_dir.display())
    })?;
    let passed_over = passed.filter(|(passed, _)| *passed > time).map(|(_, run)| run.folder);
    Ok(Resume { passed_over, ..last })
}

/// Returns the configuration of a run; null if it cannot be read.
fn config_of(run: &Resume) -> Value {
    let bytes = read_limited(run.config(), RunConfig::MAX_BYTES).ok();
    bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Returns why the run of a configuration has nothing to continue, or `None` if it trains a network.
fn untrained(config: &Value) -> Option<String> {
    let model = config["model"].as_str().unwrap_or_default();
    if registry::model(model).is_ok_and(|model| matches!(model.kind, ModelKind::Baseline(_))) {
        return Some(format!("{model} has no training"));
    }
    let finder_only = config["lr_find"]["lr_find"] == json!(AfterLrFind::Only);
    finder_only.then(|| "it only searched a learning rate".into())
}

/// Returns the flags that a resumed run may change: its budget, its outputs and its device.
pub fn free() -> impl Iterator<Item = &'static str> {
    let groups = [
        MnistConfig::FREE,
        CsvConfig::FREE,
        FolderConfig::FREE,
        LrFindConfig::FREE,
        BaselineConfig::FREE,
        LevelConfig::FREE,
    ];
    TrainerConfig::free().chain(groups.into_iter().flatten().copied())
}

/// Checks that `config` continues the experiment of the configuration `before`.
///
/// # Errors
/// Fails if a flag has another value, except those in [`free`]. The message lists all such flags.
pub fn check_resume(before: &RunConfig, config: &RunConfig) -> Result<()> {
    check_same(&flatten(&serde_json::to_value(before)?), flatten(&serde_json::to_value(config)?))
}

/// Checks that the flags `new` have the values of `old`, except those in [`free`].
fn check_same(old: &[(String, Value)], new: impl IntoIterator<Item = (String, Value)>) -> Result<()> {
    let old_value = |flag: &str| {
        old.iter().find(|(name, _)| name == flag).map_or(Value::Null, |(_, value)| value.clone())
    };
    let changed: Vec<String> = new
        .into_iter()
        .filter(|(flag, _)| !free().any(|free| free == flag))
        .map(|(flag, value)| (old_value(&flag), flag, value))
        .filter(|(old, _, new)| show(old) != show(new))
        .map(|(old, flag, new)| format!("  --{flag}: {} -> {}", show(&old), show(&new)))
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

/// Returns a configuration without the flags in [`free`]: what the weights of a run depend on. Checkpoints of the same experiment
/// then are the same bytes, wherever they are written.
pub fn experiment_of(config: &RunConfig) -> Result<Value> {
    fn without_free(value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let kept = object
                    .into_iter()
                    .filter(|(flag, value)| value.is_object() || !free().any(|free| free == flag));
                kept.map(|(flag, value)| (flag, without_free(value))).collect::<Map<_, _>>().into()
            }
            value => value,
        }
    }
    Ok(without_free(serde_json::to_value(config)?))
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
