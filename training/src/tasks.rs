//! The kinds of task: classification and forecasting.

use std::fmt::Debug;
use std::rc::Rc;

use anyhow::Result;
use serde_json::{Map, Value};
use text_recognizer::data::DataSpec;
use text_recognizer::lit_models::{LitConfig, LitModel};
use text_recognizer::models::Model;

use crate::time_series::{Baseline, Level};
use crate::trainer::{FitSummary, Loaders, Record, RunFolder};

mod classification;
mod forecasting;

pub use classification::Classification;
pub use forecasting::{
    BacktestReport, Comparable, Forecasting, ForecastingExtras, LitForecaster, PanelForecasting, plot_future,
    plot_series,
};

/// A kind of task. It provides the loss and metrics, its own fields in a checkpoint, and the report of its results.
pub trait Task: Debug {
    /// Returns the name of the task in checkpoints, such as `classification`.
    fn name(&self) -> &'static str;

    /// Returns the levels of the intervals around forecasts; none for other tasks.
    fn levels(&self) -> &[Level] {
        &[]
    }

    /// Returns the shapes of a network with the loss of `config` for data with the shapes `data`, by default the same.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible.
    fn network_shapes(&self, data: DataSpec, _config: &LitConfig) -> Result<DataSpec> {
        Ok(data)
    }

    /// Adds the loss and the metrics to a network of these shapes.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible for this task.
    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>>;

    /// Returns the fields that this task adds to a checkpoint, besides the model, its configuration and the data spec. `config` is
    /// that of a network; `None` for a model without training.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible.
    fn extras(&self, _config: Option<&LitConfig>) -> Result<Value> {
        Ok(Value::Object(Map::new()))
    }

    /// Reports on a trained model, and writes plots and tables to `folder`.
    ///
    /// # Errors
    /// Fails if the model cannot predict the data. The report has the errors of files that cannot be written.
    fn report(&self, name: &str, trained: &Trained, folder: Option<&RunFolder>) -> Result<Report>;
}

/// A model that is ready to predict.
pub enum Trained {
    /// A network, with the loaders of its data and the course of its training.
    Network(Rc<dyn LitModel>, Rc<Loaders>, FitSummary),
    /// A model that needs no training.
    Baseline(Baseline),
}

/// The results of a task, besides the loss and the metrics.
#[derive(Debug, Default)]
pub struct Report {
    /// The metrics of a model without a loss, named `val_METRIC`.
    pub metrics: Option<Record>,
    /// Tables and findings as text for the terminal; may be empty.
    pub table: String,
    /// Additional fields of the JSON results.
    pub json: Map<String, Value>,
    /// The fields that this task adds to the checkpoint of the evaluated weights, where they depend on its evaluation.
    pub extras: Option<Value>,
    /// The errors of plots and tables that could not be written.
    pub errors: Vec<anyhow::Error>,
}

impl Report {
    /// Adds a field to the JSON results.
    fn add(&mut self, name: &str, value: Value) {
        self.json.insert(name.to_owned(), value);
    }
}
