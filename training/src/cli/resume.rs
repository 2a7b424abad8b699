//! Which run `--resume` means, and what it may change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::RunConfig;
use super::defaults::leaves;
use crate::trainer::callbacks::LAST;

/// Where a run continues.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The run's folder.
    pub folder: PathBuf,
    /// The checkpoint in it.
    pub checkpoint: PathBuf,
}

/// The run that `--resume` means; `last` is the one that was saved last, of this model and data where they are named.
pub(super) fn find_resume(
    given: &Path,
    model: Option<String>,
    data: Option<String>,
    log_dir: Option<String>,
) -> Result<Resume> {
    if given == Path::new("last") && !given.exists() {
        let log_dir = log_dir.map_or_else(|| PathBuf::from("logs"), PathBuf::from);
        return last_saved(&log_dir, model.as_deref(), data.as_deref());
    }
    if given.is_file() {
        let folder = given.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        return Ok(Resume { folder: folder.to_owned(), checkpoint: given.to_owned() });
    }
    let resume = in_folder(given.to_owned());
    if !resume.checkpoint.is_file() {
        bail!(
            "--resume: {} is neither a checkpoint nor a run's folder with {}",
            given.display(),
            resume.checkpoint.display()
        );
    }
    Ok(resume)
}

fn in_folder(folder: PathBuf) -> Resume {
    let checkpoint = folder.join("checkpoints").join(LAST);
    Resume { folder, checkpoint }
}

fn last_saved(log_dir: &Path, model: Option<&str>, data: Option<&str>) -> Result<Resume> {
    let entries =
        |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let wanted = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.split_once('-').is_some_and(|(of_model, of_data)| {
            model.is_none_or(|model| model == of_model) && data.is_none_or(|data| data == of_data)
        })
    };
    let runs = entries(log_dir).filter(wanted).flat_map(|runs| entries(&runs)).map(in_folder);
    let saved = runs.filter_map(|run| Some((run.checkpoint.metadata().ok()?.modified().ok()?, run)));
    let last = saved.max_by_key(|(time, _)| *time).map(|(_, run)| run);
    last.with_context(|| {
        let of =
            |what: &str, name: Option<&str>| name.map_or(String::new(), |name| format!(" of {what} {name}"));
        let (model, data) = (of("model", model), of("data", data));
        format!("--resume last: there is no run{model}{data} to continue in {}", log_dir.display())
    })
}

/// Flags that a resumed run may change: its budget, and what it shows or keeps.
const FREE: [&str; 30] = [
    "max_epochs",
    "min_epochs",
    "max_steps",
    "max_time",
    "device",
    "threads",
    "log_dir",
    "log_every_n_steps",
    "profiler",
    "on_nonfinite",
    "detect_anomaly",
    "early_stop_patience",
    "early_stop_min_delta",
    "save_top_k",
    "checkpoint_every_n_steps",
    "checkpoint_every_n_minutes",
    "limit_test_batches",
    "num_sanity_val_steps",
    "data_dir",
    "load_checkpoint",
    "track_grad_norm",
    "lr_find",
    "lr_find_min",
    "lr_find_max",
    "lr_find_points",
    "lr_find_interval",
    "season",
    "average",
    "difference_average",
    "past_average",
];

/// Refuses to continue a run with other mathematics than it began with.
pub(super) fn check_resume(base: &Value, config: &RunConfig) -> Result<()> {
    let new = serde_json::to_value(config)?;
    let (old, new) = (leaves("", base), leaves("", &new));
    let old_value =
        |flag: &str| old.iter().find(|(name, _)| name == flag).and_then(|(_, value)| value.clone());
    let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let changed: Vec<String> = new
        .iter()
        .filter(|(flag, value)| !FREE.contains(&flag.as_str()) && old_value(flag) != *value)
        .map(|(flag, value)| format!("  --{flag}: {} -> {}", show(&old_value(flag)), show(value)))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!(
        "a resumed run keeps its mathematics, and these flags would change it:\n{}\nLeave them out, or start a new run (with \
         --load_checkpoint it starts from these weights)",
        changed.join("\n")
    )
}
