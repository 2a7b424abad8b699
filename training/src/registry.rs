//! The one table of models and data modules: what `--model` and `--data` can be.
//!
//! A new model is a file with a config and a [`Model`], and one line here.

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use text_recognizer::data::{DataConfig, DataModule, Mnist, MnistConfig, MnistDataset};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
use text_recognizer::models::{Mlp, MlpConfig, Model, Placement};

use crate::download;

/// What a model predicts, and so what data it can be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One of several classes.
    Classification,
}

/// The flags of one config type, on their way from the command line through JSON to the typed config.
pub struct Flags {
    /// Adds the flags to a command.
    pub augment: fn(Command) -> Command,
    /// Reads them, as JSON.
    pub read: fn(&ArgMatches) -> Result<Value>,
}

impl Flags {
    /// The flags of `C`.
    pub fn of<C: Args + Serialize>() -> Self {
        Self {
            augment: C::augment_args,
            read: |matches| Ok(serde_json::to_value(<C as FromArgMatches>::from_arg_matches(matches)?)?),
        }
    }
}

type BuildModel = Box<dyn Fn(Value, &DataConfig, Placement) -> Result<Box<dyn Model>>>;
type BuildData = Box<dyn Fn(Value) -> Result<Box<dyn DataModule>>>;

/// A model that can be named.
pub struct ModelEntry {
    /// As in `--model NAME`.
    pub name: &'static str,
    /// A line for `--help`.
    pub about: &'static str,
    /// What it can be trained on.
    pub task: Task,
    /// Its flags.
    pub flags: Flags,
    /// Defaults of other flags that are its own: flag and value.
    pub defaults: &'static [(&'static str, &'static str)],
    build: BuildModel,
}

/// A data module that can be named.
pub struct DataEntry {
    /// As in `--data NAME`.
    pub name: &'static str,
    /// A line for `--help`.
    pub about: &'static str,
    /// What can be trained on it.
    pub task: Task,
    /// Its flags.
    pub flags: Flags,
    build: BuildData,
}

impl ModelEntry {
    fn new<C: Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        (name, about): (&'static str, &'static str),
        task: Task,
        defaults: &'static [(&'static str, &'static str)],
        build: fn(&C, &DataConfig, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        let build = move |config: Value, data: &DataConfig, placement: Placement| -> Result<Box<dyn Model>> {
            let config =
                serde_json::from_value(config).with_context(|| format!("the configuration of {name}"))?;
            Ok(Box::new(build(&config, data, placement)?))
        };
        Self { name, about, task, flags: Flags::of::<C>(), defaults, build: Box::new(build) }
    }

    /// Builds the model with its loss and optimiser.
    ///
    /// # Errors
    /// When a value of one of the configurations is impossible.
    pub fn build(
        &self,
        config: &Value,
        lit: &LitConfig,
        data: &DataConfig,
        placement: Placement,
    ) -> Result<Box<dyn LitModel>> {
        let model = (self.build)(config.clone(), data, placement)?;
        Ok(match self.task {
            Task::Classification => Box::new(BaseLitModel::new(model, lit.clone())?),
        })
    }
}

impl DataEntry {
    fn new<C: Args + Serialize + DeserializeOwned + 'static, D: DataModule + 'static>(
        (name, about): (&'static str, &'static str),
        task: Task,
        build: impl Fn(C) -> Result<D> + 'static,
    ) -> Self {
        let build = move |config: Value| -> Result<Box<dyn DataModule>> {
            let config =
                serde_json::from_value(config).with_context(|| format!("the configuration of {name}"))?;
            Ok(Box::new(build(config)?))
        };
        Self { name, about, task, flags: Flags::of::<C>(), build: Box::new(build) }
    }

    /// Builds the data module.
    ///
    /// # Errors
    /// When a value of its configuration is impossible.
    pub fn build(&self, config: &Value) -> Result<Box<dyn DataModule>> {
        (self.build)(config.clone())
    }
}

/// All models.
pub fn models() -> Vec<ModelEntry> {
    use Task::Classification;
    vec![ModelEntry::new::<MlpConfig, _>(
        ("mlp", "two hidden layers with dropout"),
        Classification,
        &[],
        Mlp::new,
    )]
}

/// All data modules.
pub fn data_modules() -> Vec<DataEntry> {
    use Task::Classification;
    let mnist = |config| Ok(Mnist::new(MnistDataset::Mnist, config)?.on_progress(download::report()));
    let fashion =
        |config| Ok(Mnist::new(MnistDataset::FashionMnist, config)?.on_progress(download::report()));
    vec![
        DataEntry::new::<MnistConfig, _>(("mnist", "handwritten digits"), Classification, mnist),
        DataEntry::new::<MnistConfig, _>(("fashion_mnist", "articles of clothing"), Classification, fashion),
    ]
}

/// The model of that name.
///
/// # Errors
/// When there is none.
pub fn model(name: &str) -> Result<ModelEntry> {
    let names = || models().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    models()
        .into_iter()
        .find(|entry| entry.name == name)
        .with_context(|| format!("no model {name}; there are {}", names()))
}

/// The data module of that name.
///
/// # Errors
/// When there is none.
pub fn data_module(name: &str) -> Result<DataEntry> {
    let names = || data_modules().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    let found = data_modules().into_iter().find(|entry| entry.name == name);
    found.with_context(|| format!("no data {name}; there are {}", names()))
}

/// Refuses a model on data that it cannot be trained on.
///
/// # Errors
/// Names the data that it can be trained on.
pub fn check_pair(model: &ModelEntry, data: &DataEntry) -> Result<()> {
    if model.task != data.task {
        let fitting = data_modules();
        let fitting: Vec<&str> = fitting.iter().filter(|d| d.task == model.task).map(|d| d.name).collect();
        bail!(
            "the model {} cannot be trained on {}; it takes --data {}",
            model.name,
            data.name,
            fitting.join(", ")
        );
    }
    Ok(())
}
