//! The one table of models and data modules: what `--model` and `--data` can be.
//!
//! A new model is a file with a config and a [`Model`], and one line here.

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::data::{DataConfig, DataModule, Mnist, MnistConfig, MnistDataset};
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
use text_recognizer::models::{Mlp, MlpConfig, Model, Placement};

use crate::download;
use crate::time_series::{
    Baseline, BaselineConfig, CsvConfig, LitForecaster, Scaler, Series, SeriesDataModule, SyntheticConfig,
    WindowConfig, models, read_csv, synthetic,
};

/// What a model predicts, and so what data it can be trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One of several classes.
    Classification,
    /// The next values of a series.
    Forecasting,
}

/// A data module, as what is done with its results needs to know it.
pub enum Data {
    /// Of classes.
    Classes(Box<dyn DataModule>),
    /// Of a series.
    Series(Box<SeriesDataModule>),
}

impl Data {
    /// What the trainer sees of it.
    pub fn module(&self) -> &dyn DataModule {
        match self {
            Self::Classes(module) => &**module,
            Self::Series(module) => &**module,
        }
    }

    /// The scaling of its values; `None` of classes.
    pub fn scaler(&self) -> Option<&Scaler> {
        match self {
            Self::Classes(_) => None,
            Self::Series(module) => Some(module.scaler()),
        }
    }
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

    /// No flags.
    fn none() -> Self {
        Self { augment: |command| command, read: |_| Ok(json!({})) }
    }
}

type BuildModel = Box<dyn Fn(Value, &DataConfig, Placement) -> Result<Box<dyn Model>>>;
type BuildData = Box<dyn Fn(Value, &Value) -> Result<Data>>;
/// Defaults of flags: flag and value.
type Defaults = &'static [(&'static str, &'static str)];

/// What a name stands for.
enum Kind {
    /// A network, to be trained.
    Network(BuildModel),
    /// A rule that forecasts without training.
    Baseline(Baseline),
}

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
    /// Defaults of other flags that are its own.
    pub defaults: Defaults,
    kind: Kind,
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
    /// Defaults of its flags that are not the flags' own.
    pub defaults: Defaults,
    build: BuildData,
}

impl ModelEntry {
    fn network<C: Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        (name, about): (&'static str, &'static str),
        task: Task,
        defaults: Defaults,
        build: fn(&C, &DataConfig, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        let build = move |config: Value, data: &DataConfig, placement: Placement| -> Result<Box<dyn Model>> {
            let config =
                serde_json::from_value(config).with_context(|| format!("the configuration of {name}"))?;
            Ok(Box::new(build(&config, data, placement)?))
        };
        Self { name, about, task, flags: Flags::of::<C>(), defaults, kind: Kind::Network(Box::new(build)) }
    }

    fn baseline(baseline: Baseline, about: &'static str) -> Self {
        let (name, task, kind) = (baseline.name(), Task::Forecasting, Kind::Baseline(baseline));
        Self { name, about, task, flags: Flags::none(), defaults: &[], kind }
    }

    /// The rule, where it is one.
    pub fn as_baseline(&self) -> Option<Baseline> {
        match self.kind {
            Kind::Network(_) => None,
            Kind::Baseline(baseline) => Some(baseline),
        }
    }

    /// Builds the network with its loss and optimiser; `scaler` is the scaling of a series.
    ///
    /// # Errors
    /// When a value of one of the configurations is impossible, or there is no network to build.
    pub fn build(
        &self,
        config: &Value,
        lit: &LitConfig,
        data: &DataConfig,
        scaler: Option<&Scaler>,
        placement: Placement,
    ) -> Result<Box<dyn LitModel>> {
        let Kind::Network(build) = &self.kind else { bail!("{} is not trained", self.name) };
        let model = build(config.clone(), data, placement)?;
        Ok(match scaler {
            Some(scaler) => {
                let horizon = data.output_dims.first().copied().unwrap_or(1);
                Box::new(LitForecaster::new(model, lit.clone(), scaler.clone(), horizon)?)
            }
            None => Box::new(BaseLitModel::new(model, lit.clone())?),
        })
    }
}

impl DataEntry {
    fn classes<C: Args + Serialize + DeserializeOwned + 'static, D: DataModule + 'static>(
        (name, about): (&'static str, &'static str),
        build: fn(C) -> Result<D>,
    ) -> Self {
        let build = move |config: Value, _: &Value| -> Result<Data> {
            let config =
                serde_json::from_value(config).with_context(|| format!("the configuration of {name}"))?;
            Ok(Data::Classes(Box::new(build(config)?)))
        };
        let (task, flags) = (Task::Classification, Flags::of::<C>());
        Self { name, about, task, flags, defaults: &[], build: Box::new(build) }
    }

    fn series<C: Args + Serialize + DeserializeOwned + 'static>(
        (name, about): (&'static str, &'static str),
        defaults: Defaults,
        read: fn(&C) -> Result<Series>,
    ) -> Self {
        let build = move |config: Value, model: &Value| -> Result<Data> {
            let config: SeriesFlags<C> =
                serde_json::from_value(config).with_context(|| format!("the configuration of {name}"))?;
            // A network that forecasts at each step of a window needs a target for each.
            let sequence = model["sequence_loss"] == Value::Bool(true);
            let SeriesFlags { source, windows, baselines } = config;
            let module = SeriesDataModule::new(read(&source)?, windows, baselines, sequence)?;
            Ok(Data::Series(Box::new(module)))
        };
        let (task, flags) = (Task::Forecasting, Flags::of::<SeriesFlags<C>>());
        Self { name, about, task, flags, defaults, build: Box::new(build) }
    }

    /// Builds the data module for a model with the flags `model_config`.
    ///
    /// # Errors
    /// When a value of its configuration is impossible, or a file cannot be used.
    pub fn build(&self, config: &Value, model_config: &Value) -> Result<Data> {
        (self.build)(config.clone(), model_config)
    }
}

/// The flags of a source of series, of the windows over it, and of the baselines that its forecasts are compared with.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct SeriesFlags<C: Args> {
    #[command(flatten)]
    source: C,
    #[command(flatten)]
    windows: WindowConfig,
    #[command(flatten)]
    baselines: BaselineConfig,
}

/// What the course trains its networks with, in Keras; a model's own defaults go on from here.
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

/// All models.
pub fn all_models() -> Vec<ModelEntry> {
    use Task::{Classification, Forecasting};
    let dense: Defaults = course!("lr": "1e-6", "loss": "mse", "max_epochs": "100", "batch_size": "32");
    let rnn: Defaults = course!("lr": "5e-5", "loss": "huber", "max_epochs": "400", "batch_size": "128");
    let conv: Defaults = course!("lr": "1e-5", "loss": "huber", "max_epochs": "500", "batch_size": "32");
    vec![
        ModelEntry::network::<MlpConfig, _>(
            ("mlp", "two hidden layers with dropout"),
            Classification,
            // Five epochs at a constant rate end between 97.3 and 98.0 %, these between 97.7 and 98.0 %. And unlike a cosine it
            // knows nothing of the run's length, which a resumed run may change.
            &[("lr_schedule", "exponential"), ("lr_epochs_per_decade", "-20")],
            Mlp::new,
        ),
        ModelEntry::network(
            ("linear", "linear regression on the window"),
            Forecasting,
            dense,
            models::Linear::new,
        ),
        ModelEntry::network(("dnn", "dense layers on the window"), Forecasting, dense, models::Dnn::new),
        ModelEntry::network(("rnn", "simple recurrent layers"), Forecasting, rnn, models::Rnn::new),
        ModelEntry::network(("lstm", "long short-term memory"), Forecasting, dense, models::Lstm::new),
        ModelEntry::network(("gru", "gated recurrent units"), Forecasting, dense, models::Gru::new),
        ModelEntry::network(
            ("conv_lstm", "a causal convolution and LSTM"),
            Forecasting,
            conv,
            models::ConvLstm::new,
        ),
        ModelEntry::baseline(Baseline::Naive, "the last value; not trained"),
        ModelEntry::baseline(Baseline::MovingAverage, "the mean of the last values; not trained"),
        ModelEntry::baseline(Baseline::SeasonalNaive, "the value a season ago; not trained"),
        ModelEntry::baseline(Baseline::Differencing, "a season ago and the latest change; not trained"),
    ]
}

/// All data modules.
pub fn data_modules() -> Vec<DataEntry> {
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
}

/// The model of that name.
///
/// # Errors
/// When there is none.
pub fn model(name: &str) -> Result<ModelEntry> {
    let names = || all_models().iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    all_models()
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

/// The data that a model is trained on when none is named: the first of its kind.
pub fn default_data(model: &str) -> &'static str {
    let task = model_task(model);
    data_modules().iter().find(|entry| Some(entry.task) == task).map_or("mnist", |entry| entry.name)
}

fn model_task(model: &str) -> Option<Task> {
    all_models().iter().find(|entry| entry.name == model).map(|entry| entry.task)
}

/// Refuses a model on data that it cannot be trained on.
///
/// # Errors
/// Names the data that it can be trained on, and the models that this data can train.
pub fn check_pair(model: &ModelEntry, data: &DataEntry) -> Result<()> {
    if model.task != data.task {
        let (models, modules) = (all_models(), data_modules());
        let models: Vec<&str> = models.iter().filter(|m| m.task == data.task).map(|m| m.name).collect();
        let modules: Vec<&str> = modules.iter().filter(|d| d.task == model.task).map(|d| d.name).collect();
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
