//! The end of a run: its report, its checkpoint and its results.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use text_recognizer::checkpoint::{self, DType, Description};
use text_recognizer::data::DataIdentity;

use super::refit::Refit;
use super::registry::{self, Data, ModelKind};
use super::resume::experiment_of;
use super::{Finished, RunConfig};
use crate::tasks::{Task, Trained};
use crate::trainer::{FitSummary, Record, RunFolder};

/// The results of training.
#[derive(Default)]
pub(super) struct Results {
    pub values: Record,
    pub summary: Option<FitSummary>,
    pub profile: String,
    /// The errors of files that could not be written.
    pub errors: Vec<anyhow::Error>,
    /// The model that was trained on all rows.
    pub refit: Option<Refit>,
}

/// Reports on a trained model and writes its results; `best` is the checkpoint of its weights. Files that cannot be written do not
/// hide the results.
pub(super) fn finish(
    config: &RunConfig,
    folder: Option<&RunFolder>,
    best: Option<&Path>,
    task: &dyn Task,
    trained: &Trained,
    results: Results,
) -> Result<Finished> {
    let Results { values, summary, profile, mut errors, refit } = results;
    let mut report = task.report(&config.model, trained, folder)?;
    let results = report.metrics.take().unwrap_or(values);
    errors.append(&mut report.errors);
    let extras = report.extras.take();
    if let (Some(refit), Some(folder)) = (&refit, folder) {
        errors.extend(refit.write(folder, extras.as_ref()).err());
        report.table += &refit.line();
        report.json.insert("refit".into(), refit.json());
    }
    if let (Some(extras), Some(best)) = (extras, best) {
        errors.extend(checkpoint::set_extras(best, extras).err().map(Into::into));
    }
    let path = folder.map(|folder| folder.path().to_owned());
    let mut finished =
        Finished { config: config.clone(), folder: path, summary, results, report, profile, errors };
    if let Some(folder) = folder {
        finished.errors.extend(folder.write_results(&finished.json()).err());
    }
    Ok(finished)
}

/// Returns the metadata of the checkpoints: the description of the model, which has everything that inference needs, the flags
/// that the weights depend on, and the identity of the data.
pub(super) fn metadata(config: &RunConfig, data: &Data, identity: Option<&DataIdentity>) -> Result<Value> {
    let is_network = matches!(registry::model(&config.model)?.kind, ModelKind::Network(_));
    let description = Description {
        model: config.model.clone(),
        model_config: config.model_config.clone(),
        data: data.module.spec(),
        dtype: DType::of(config.trainer.device.kind()),
        task: data.task.name().to_owned(),
        extras: data.task.extras(is_network.then_some(&config.lit))?,
    };
    Ok(checkpoint::metadata(&description, &json!({"run": experiment_of(config)?, "data": identity}))?)
}
