//! The two static tables of models and data: the values of `--model` and `--data`.
//!
//! A new model is a file with a config and a [`Model`], and one line here.

use std::rc::Rc;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::data::{DataModule, DataSpec, Mnist, MnistConfig, MnistDataset};
use text_recognizer::models::{Mlp, MlpConfig, Model};
use text_recognizer::nn::Placement;

use super::download;
use crate::tasks::{Classification, Forecasting, Task};
use crate::time_series::models::{self, ForecastConfig};
use crate::time_series::{
    Baseline, BaselineConfig, CsvConfig, Series, SeriesDataModule, SyntheticConfig, Target, WindowConfig,
    read_csv, synthetic,
};

/// The flags of one config type, on their way from the command line through JSON to the typed config.
pub struct Flags {
    /// Adds the flags to a command.
    pub augment: fn(Command) -> Command,
    /// Reads them, as JSON.
    pub read: fn(&ArgMatches) -> Result<Value>,
}

impl Flags {
    /// Returns the flags of `C`.
    pub fn of<C: Args + Serialize>() -> Self {
        Self {
            augment: C::augment_args,
            read: |matches| Ok(serde_json::to_value(<C as FromArgMatches>::from_arg_matches(matches)?)?),
        }
    }

    fn none() -> Self {
        Self { augment: |command| command, read: |_| Ok(json!({})) }
    }
}

type BuildModel = Box<dyn Fn(&Value, &DataSpec, Placement) -> Result<Box<dyn Model>> + Send + Sync>;
type ReadTarget = Box<dyn Fn(&Value) -> Result<Target> + Send + Sync>;
type BuildData = Box<dyn Fn(&Value, Target) -> Result<Data> + Send + Sync>;
/// Defaults of flags: flag and value.
type Defaults = &'static [(&'static str, &'static str)];

/// The way a model comes to its predictions.
pub enum ModelKind {
    /// A network, which is trained.
    Network(Network),
    /// A rule that forecasts without training.
    Baseline(Baseline),
}

/// The functions of a network's configuration.
pub struct Network {
    build: BuildModel,
    target: ReadTarget,
}

impl Network {
    /// Builds the network with the flags `config`.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible.
    pub fn build(&self, config: &Value, data: &DataSpec, placement: Placement) -> Result<Box<dyn Model>> {
        (self.build)(config, data, placement)
    }
}

/// A model that can be named.
pub struct ModelEntry {
    /// The name, as in `--model NAME`.
    pub name: &'static str,
    /// A line for `--help`.
    pub about: &'static str,
    /// The name of the task that it is for.
    pub task: &'static str,
    /// Its flags.
    pub flags: Flags,
    /// Its own defaults of other flags.
    pub defaults: Defaults,
    /// Whether it is trained.
    pub kind: ModelKind,
}

/// A data set that can be named.
pub struct DataEntry {
    /// The name, as in `--data NAME`.
    pub name: &'static str,
    /// A line for `--help`.
    pub about: &'static str,
    /// The name of the task that it is for.
    pub task: &'static str,
    /// Its flags.
    pub flags: Flags,
    /// Its own defaults of its flags.
    pub defaults: Defaults,
    build: BuildData,
}

/// A data module, and the task that its data is for.
pub struct Data {
    /// The module, for the trainer.
    pub module: Rc<dyn DataModule>,
    /// The task, for everything that depends on the kind of data.
    pub task: Box<dyn Task>,
}

fn typed<C: DeserializeOwned>(config: &Value, name: &str) -> Result<C> {
    C::deserialize(config).with_context(|| format!("cannot read the configuration of {name}"))
}

impl ModelEntry {
    fn network<C: Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        (name, about): (&'static str, &'static str),
        task: &'static str,
        defaults: Defaults,
        build: fn(&C, &DataSpec, Placement) -> text_recognizer::Result<M>,
        target: fn(&C) -> Target,
    ) -> Self {
        let kind = ModelKind::Network(Network {
            build: Box::new(move |config, data, placement| {
                Ok(Box::new(build(&typed(config, name)?, data, placement)?))
            }),
            target: Box::new(move |config| Ok(target(&typed(config, name)?))),
        });
        Self { name, about, task, flags: Flags::of::<C>(), defaults, kind }
    }

    fn classifier<C: Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        names: (&'static str, &'static str),
        defaults: Defaults,
        build: fn(&C, &DataSpec, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        Self::network(names, Classification::NAME, defaults, build, |_| Target::default())
    }

    fn forecaster<C: ForecastConfig + Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        names: (&'static str, &'static str),
        defaults: Defaults,
        build: fn(&C, &DataSpec, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        Self::network(names, Forecasting::NAME, defaults, build, C::target)
    }

    fn baseline(baseline: Baseline, about: &'static str) -> Self {
        let (name, task, kind) = (baseline.name(), Forecasting::NAME, ModelKind::Baseline(baseline));
        Self { name, about, task, flags: Flags::none(), defaults: &[], kind }
    }

    /// Returns the values that the model with the flags `config` is trained to predict.
    ///
    /// # Errors
    /// Fails if the configuration is not the model's.
    pub fn target(&self, config: &Value) -> Result<Target> {
        match &self.kind {
            ModelKind::Network(network) => (network.target)(config),
            ModelKind::Baseline(_) => Ok(Target::default()),
        }
    }
}

impl DataEntry {
    fn classes<C: Args + Serialize + DeserializeOwned + 'static, D: DataModule + 'static>(
        (name, about): (&'static str, &'static str),
        build: fn(C) -> Result<D>,
    ) -> Self {
        let build = move |config: &Value, _: Target| -> Result<Data> {
            Ok(Data { module: Rc::new(build(typed(config, name)?)?), task: Box::new(Classification) })
        };
        let (task, flags) = (Classification::NAME, Flags::of::<C>());
        Self { name, about, task, flags, defaults: &[], build: Box::new(build) }
    }

    fn series<C: Args + Serialize + DeserializeOwned + 'static>(
        (name, about): (&'static str, &'static str),
        defaults: Defaults,
        read: fn(&C) -> Result<Series>,
    ) -> Self {
        let build = move |config: &Value, target: Target| -> Result<Data> {
            let SeriesFlags { source, windows, baselines } = typed::<SeriesFlags<C>>(config, name)?;
            let module = Rc::new(SeriesDataModule::new(read(&source)?, windows, baselines, target)?);
            Ok(Data { task: Box::new(Forecasting::new(Rc::clone(&module))), module })
        };
        let (task, flags) = (Forecasting::NAME, Flags::of::<SeriesFlags<C>>());
        Self { name, about, task, flags, defaults, build: Box::new(build) }
    }

    /// Builds the data module for a model that predicts `target`.
    ///
    /// # Errors
    /// Fails if a value of its configuration is impossible or a file cannot be used.
    pub fn build(&self, config: &Value, target: Target) -> Result<Data> {
        (self.build)(config, target)
    }
}

/// The flags of a source of series, of the windows over it, and of the baselines that forecasts are compared with.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct SeriesFlags<C: Args> {
    #[command(flatten)]
    source: C,
    #[command(flatten)]
    windows: WindowConfig,
    #[command(flatten)]
    baselines: BaselineConfig,
}

/// The settings of the TensorFlow time-series course; a model's own defaults follow.
macro_rules! course {
    ($($flag:literal: $value:literal),* $(,)?) => {
        &[
            ("optimizer", "sgd"),
            ("momentum", "0.9"),
            ("sgd_form", "keras"),
            ("early_stop_patience", "0"),
            ("num_sanity_val_steps", "0"),
            ("lr_find_interval", "epoch"),
            ("lr_find_max", "1e-3"),
            $(($flag, $value)),*
        ]
    };
}

const DENSE: Defaults = course!("lr": "1e-6", "loss": "mse", "max_epochs": "100", "batch_size": "32");
const RNN: Defaults = course!("lr": "5e-5", "loss": "huber", "max_epochs": "400", "batch_size": "128");
const CONV: Defaults = course!("lr": "1e-5", "loss": "huber", "max_epochs": "500", "batch_size": "32");
// Five epochs at a constant rate end between 97.3 and 98.0 %, with this schedule between 97.7 and 98.0 %. Unlike a cosine it
// does not depend on the length of the run, which a resumed run may change.
const MLP: Defaults = &[("lr_schedule", "exponential"), ("lr_epochs_per_decade", "-20")];

/// All models.
pub static MODELS: LazyLock<Vec<ModelEntry>> = LazyLock::new(|| {
    vec![
        ModelEntry::classifier::<MlpConfig, _>(("mlp", "two hidden layers with dropout"), MLP, Mlp::new),
        ModelEntry::forecaster(("linear", "linear regression on the window"), DENSE, models::Linear::new),
        ModelEntry::forecaster(("dnn", "dense layers on the window"), DENSE, models::Dnn::new),
        ModelEntry::forecaster(("rnn", "simple recurrent layers"), RNN, models::Rnn::new),
        ModelEntry::forecaster(("lstm", "long short-term memory"), DENSE, models::Lstm::new),
        ModelEntry::forecaster(("gru", "gated recurrent units"), DENSE, models::Gru::new),
        ModelEntry::forecaster(("conv_lstm", "a causal convolution and LSTM"), CONV, models::ConvLstm::new),
        ModelEntry::baseline(Baseline::Naive, "the last value; not trained"),
        ModelEntry::baseline(Baseline::MovingAverage, "the mean of the last values; not trained"),
        ModelEntry::baseline(Baseline::SeasonalNaive, "the value a season ago; not trained"),
        ModelEntry::baseline(Baseline::Differencing, "a season ago and the latest change; not trained"),
    ]
});

/// All data.
pub static DATA: LazyLock<Vec<DataEntry>> = LazyLock::new(|| {
    vec![
        DataEntry::classes::<MnistConfig, _>(("mnist", "handwritten digits"), |config| {
            Ok(Mnist::new(MnistDataset::Mnist, config)?.on_progress(download::report()))
        }),
        DataEntry::classes::<MnistConfig, _>(("fashion_mnist", "articles of clothing"), |config| {
            Ok(Mnist::new(MnistDataset::FashionMnist, config)?.on_progress(download::report()))
        }),
        DataEntry::series::<SyntheticConfig>(
            ("series", "the synthetic series of the course"),
            &[],
            |config| Ok(synthetic(config)?),
        ),
        DataEntry::series::<CsvConfig>(("csv", "columns of a file"), &[("split_time", "0.8")], read_csv),
    ]
});

/// Returns the model of a name.
///
/// # Errors
/// Fails if there is none; the message lists all.
pub fn model(name: &str) -> Result<&'static ModelEntry> {
    let names = || MODELS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    MODELS
        .iter()
        .find(|entry| entry.name == name)
        .with_context(|| format!("no model {name}; there are {}", names()))
}

/// Returns the data of a name.
///
/// # Errors
/// Fails if there is none; the message lists all.
pub fn data(name: &str) -> Result<&'static DataEntry> {
    let names = || DATA.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    DATA.iter()
        .find(|entry| entry.name == name)
        .with_context(|| format!("no data {name}; there are {}", names()))
}

/// Returns the data that a model is trained on if none is named: the first of its task.
pub fn default_data(model: &str) -> &'static str {
    let task = MODELS.iter().find(|entry| entry.name == model).map(|entry| entry.task);
    DATA.iter().find(|entry| Some(entry.task) == task).map_or("mnist", |entry| entry.name)
}

/// Checks that a model can be trained on data.
///
/// # Errors
/// Names the data that the model can be trained on, and the models that the data can train.
pub fn check_pair(model: &ModelEntry, data: &DataEntry) -> Result<()> {
    if model.task != data.task {
        let models: Vec<&str> = MODELS.iter().filter(|m| m.task == data.task).map(|m| m.name).collect();
        let modules: Vec<&str> = DATA.iter().filter(|d| d.task == model.task).map(|d| d.name).collect();
        bail!(
            "the model {} cannot be trained on {}: it takes --data {}, and --data {} takes --model {}",
            model.name,
            data.name,
            modules.join(", "),
            data.name,
            models.join(", ")
        );
    }
    Ok(())
}
