//! The kinds of task: classification and forecasting.

use std::fmt::Debug;
use std::rc::Rc;

use anyhow::{Result, bail};
use serde_json::{Map, Value};
use text_recognizer::lit_models::{LitConfig, LitModel};
use text_recognizer::models::Model;

use crate::time_series::{Baseline, Forecaster};
use crate::trainer::{Loaders, Record, RunFolder};

mod classification;
mod forecasting;

pub use classification::Classification;
pub use forecasting::{Forecasting, ForecastingExtras, LitForecaster};

/// A kind of task: what is learned, what a checkpoint carries for it, and how its results are reported.
pub trait Task: Debug {
    /// Returns the name in checkpoints, such as `classification`.
    fn name(&self) -> &'static str;

    /// Adds loss and metrics to a network.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible for this task.
    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>>;

    /// Returns a forecaster that needs no training.
    ///
    /// # Errors
    /// Fails for tasks other than forecasting.
    fn baseline(&self, baseline: Baseline) -> Result<Box<dyn Forecaster>> {
        bail!("{} is not a model of {}", baseline.name(), self.name())
    }

    /// Returns what a checkpoint carries for this task, beside the model, its configuration and the data.
    fn extras(&self) -> Value {
        Value::Object(Map::new())
    }

    /// Reports on a trained model, and writes plots and tables to `folder`.
    ///
    /// # Errors
    /// Fails if the model cannot predict the data, or a file cannot be written.
    fn report(&self, name: &str, trained: &Trained, folder: Option<&RunFolder>) -> Result<Report>;
}

/// A model that is ready to predict.
pub enum Trained {
    /// A network, with the loaders of its data.
    Network(Rc<dyn LitModel>, Rc<Loaders>),
    /// A model that needs no training loop.
    Forecaster(Box<dyn Forecaster>),
}

/// The results of a task beside loss and metrics.
#[derive(Debug, Default)]
pub struct Report {
    /// Metrics of a model that has no loss, as `val_METRIC`.
    pub metrics: Option<Record>,
    /// A table for a person; may be empty.
    pub table: String,
    /// Fields of the results' JSON object.
    pub json: Map<String, Value>,
}
