//! Builders for tests: a data set of five rows, a model of one weight, a run's folder, a callback that records, and windows.

mod calendar;
mod covariates;
mod properties;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use anyhow::Result;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use text_recognizer::data::{BaseDataset, DataSplits, Shuffle};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel, LossName};
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Parameters, Placement};
use text_recognizer::optim::{OptimizerConfig, OptimizerName};

use crate::time_series::WindowConfig;
use crate::trainer::callbacks::{Callback, Position, StopReason};
use crate::trainer::loggers::Logger;
use crate::trainer::{LoaderConfig, Loaders, Record, RunFolder, SingleProcess, Strategy, TrainerConfig};

/// The inputs of the five rows. The target of an input `x` is [`SLOPE`]` * x`.
pub const INPUTS: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];

/// The weight of a model without error.
pub const SLOPE: f64 = 2.0;

/// The weight before the first step.
pub const START: f64 = 1.0;

/// The learning rate.
pub const LR: f64 = 1.0 / 64.0;

/// Placement of everything in these tests: in double precision, results by hand are those of the loop.
const KIND: Kind = Kind::Double;

/// Returns the gradient of the mean squared error of the rows with inputs `x` at `weight`:
/// `mean(2 x (weight x - SLOPE x))`.
pub fn gradient(weight: f64, x: &[f64]) -> f64 {
    x.iter().map(|x| 2.0 * x * (weight - SLOPE) * x).sum::<f64>() / x.len() as f64
}

/// Returns the mean squared error of the rows with inputs `x` at `weight`.
pub fn loss(weight: f64, x: &[f64]) -> f64 {
    x.iter().map(|x| ((weight - SLOPE) * x).powi(2)).sum::<f64>() / x.len() as f64
}

/// Returns the weights after each of some steps of SGD from `weight`, each on the rows with the inputs of one of `steps`.
pub fn descend(mut weight: f64, steps: &[&[f64]]) -> Vec<f64> {
    let step = |x: &&[f64]| {
        weight -= LR * gradient(weight, x);
        weight
    };
    steps.iter().map(step).collect()
}

/// Checks that two lists of numbers are equal up to rounding.
pub fn assert_close(got: &[f64], expected: &[f64]) {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs().max(1.0);
    let equal = got.len() == expected.len() && got.iter().zip(expected).all(close);
    assert!(equal, "got {got:?}, expected {expected:?}");
}

/// A network of one weight: `x: [batch, 1] -> [batch, 1]`.
#[derive(Debug)]
struct OneWeight {
    parameters: Parameters,
}

impl Model for OneWeight {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> text_recognizer::Result<Tensor> {
        Ok(context.layer("scale", x.f_mul(&self.parameters.tensors()[0])?))
    }
}

/// Returns the configuration of windows with these flags, and the defaults of the others.
pub fn windows(flags: &[&str]) -> WindowConfig {
    use clap::{Args, Command, FromArgMatches};
    let command = WindowConfig::augment_args(Command::new("")).no_binary_name(true);
    WindowConfig::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

/// Returns the model of one weight, with the mean squared error, trained by SGD.
pub fn lit() -> BaseLitModel {
    let optimizer = OptimizerConfig { optimizer: OptimizerName::Sgd, lr: LR, ..OptimizerConfig::default() };
    lit_with(optimizer)
}

/// Returns the model of one weight with another optimizer.
pub fn lit_with(optimizer: OptimizerConfig) -> BaseLitModel {
    let mut parameters = Parameters::new(Placement { kind: KIND, ..Placement::cpu(0) });
    let _ = parameters.add("weight", Tensor::from_slice(&[START])).unwrap();
    let config = LitConfig { loss: LossName::Mse, optimizer, ..LitConfig::default() };
    BaseLitModel::new(Box::new(OneWeight { parameters }), config).unwrap()
}

/// Returns the weight of the model.
pub fn weight(lit: &dyn LitModel) -> f64 {
    lit.parameters().tensors()[0].double_value(&[0])
}

/// Returns rows with these inputs and their targets.
pub fn dataset(inputs: &[f64]) -> BaseDataset {
    let x = Tensor::from_slice(inputs).view([-1, 1]);
    let y = &x * SLOPE;
    BaseDataset::new(x, y, Vec::new()).unwrap()
}

/// Returns loaders of the five rows in their order, for training, validation and test.
pub fn loaders(batch_size: usize) -> Loaders {
    loaders_of(&INPUTS, batch_size, Shuffle::No, &SingleProcess)
}

/// Returns the loaders of a rank: they train on rows with these inputs, and validate and test on the five rows.
pub fn loaders_of(inputs: &[f64], batch_size: usize, shuffle: Shuffle, strategy: &dyn Strategy) -> Loaders {
    let splits = DataSplits {
        train: Box::new(dataset(inputs)),
        val: Box::new(dataset(&INPUTS)),
        test: Some(Box::new(dataset(&INPUTS))),
    };
    let config = LoaderConfig { batch_size: batch_size.into(), ..LoaderConfig::default() };
    Loaders::new(splits, &config, shuffle, (Device::Cpu, KIND), strategy).unwrap()
}

/// Returns the configuration of a run of some epochs.
pub fn config(max_epochs: u64) -> TrainerConfig {
    let mut config = TrainerConfig::default();
    config.budget.max_epochs = max_epochs.into();
    config.logging.log_every_n_steps = 1;
    config
}

/// A run's folder, which is removed with this value.
#[derive(Debug)]
pub struct Run {
    pub folder: RunFolder,
    logs: TempDir,
}

impl Run {
    pub fn new() -> Self {
        let logs = tempfile::tempdir().unwrap();
        Self { folder: RunFolder::create(logs.path(), "test").unwrap(), logs }
    }

    /// Returns the names of the files of the run, sorted, but for the lock.
    pub fn files(&self) -> Vec<String> {
        assert!(self.folder.path().starts_with(self.logs.path()));
        let entries = [self.folder.path().to_owned(), self.folder.checkpoints()];
        let entries = entries.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
        let files = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().is_file());
        let mut names: Vec<String> = files.map(|file| file.file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".lock");
        names.sort();
        names
    }
}

/// The events of a run.
#[derive(Debug, Default)]
pub struct Events {
    /// The position after each batch, and the weight there.
    pub batches: Vec<(u64, usize, f64)>,
    /// The records of validations.
    pub validations: Vec<Record>,
    /// Everything that was logged.
    pub logged: Vec<Record>,
    /// Whether the run ended with success, once it ended.
    pub success: Option<bool>,
    /// The number of times that the run has ended.
    pub ends: usize,
    /// The number of records that were logged before each flush, which comes with each checkpoint.
    pub flushes: Vec<usize>,
}

impl Events {
    /// Returns the weight after each batch.
    pub fn weights(&self) -> Vec<f64> {
        self.batches.iter().map(|(_, _, weight)| *weight).collect()
    }

    /// Returns the values of a metric, of the validations that have it.
    pub fn metric(&self, name: &str) -> Vec<f64> {
        self.validations.iter().filter_map(|record| record.get(name)).collect()
    }

    /// Returns epoch and step of the validations that have a validation loss.
    pub fn validated(&self) -> Vec<(u64, u64)> {
        let validated = self.validations.iter().filter(|record| record.get("val_loss").is_some());
        validated.map(|record| (record.epoch, record.step)).collect()
    }
}

/// A callback and a logger that record the events of a run. Its clones share them.
#[derive(Debug, Clone)]
pub struct Recorder {
    weight: Rc<Tensor>,
    events: Rc<RefCell<Events>>,
}

impl Recorder {
    /// Records the events of a run of `lit`.
    pub fn new(lit: &dyn LitModel) -> Self {
        let weight = Rc::new(lit.parameters().tensors()[0].shallow_clone());
        Self { weight, events: Rc::default() }
    }

    /// Returns what was recorded.
    pub fn take(&self) -> Events {
        self.events.take()
    }
}

impl Callback for Recorder {
    fn on_batch_end(&mut self, at: Position) {
        let weight = self.weight.double_value(&[0]);
        self.events.borrow_mut().batches.push((at.epoch, at.batch, weight));
    }

    fn on_validation_end(&mut self, record: &Record) -> Result<ControlFlow<StopReason>> {
        self.events.borrow_mut().validations.push(record.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn on_fit_end(&mut self) {
        self.events.borrow_mut().ends += 1;
    }
}

/// A callback that acts after each batch.
pub struct AfterBatch<F>(pub F);

impl<F: FnMut(Position)> Callback for AfterBatch<F> {
    fn on_batch_end(&mut self, at: Position) {
        (self.0)(at);
    }

    fn on_validation_end(&mut self, _record: &Record) -> Result<ControlFlow<StopReason>> {
        Ok(ControlFlow::Continue(()))
    }
}

impl Logger for Recorder {
    fn log(&mut self, record: &Record) -> Result<()> {
        self.events.borrow_mut().logged.push(record.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<Value> {
        let mut events = self.events.borrow_mut();
        let logged = events.logged.len();
        events.flushes.push(logged);
        Ok(json!(logged))
    }

    fn rewind(&mut self, mark: &Value, _step: u64) -> Result<()> {
        let length = mark.as_u64().unwrap() as usize;
        self.events.borrow_mut().logged.truncate(length);
        Ok(())
    }

    fn finish(&mut self, success: bool) -> Result<()> {
        self.events.borrow_mut().success = Some(success);
        Ok(())
    }
}
