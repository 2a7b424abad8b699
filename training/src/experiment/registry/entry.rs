//! The entries of the tables of models and data: their flags, and the functions that build them.

use std::rc::Rc;

use anyhow::{Context, Result};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use text_recognizer::data::{DataModule, DataSpec};
use text_recognizer::models::Model;
use text_recognizer::nn::Placement;
use text_recognizer::util::Progress;

use crate::tasks::{Classification, Forecasting, PanelForecasting, Task};
use crate::time_series::models::ForecastConfig;
use crate::time_series::{
    Baseline, BaselineConfig, LevelConfig, Panel, PanelDataModule, SeriesDataModule, Target, WindowConfig,
    check_levels,
};

/// The flags of one config type.
pub struct Flags {
    /// Adds the flags to a command.
    pub augment: fn(Command) -> Command,
    /// Reads the flags as a JSON object.
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
type BuildData = Box<dyn Fn(&Value, Target, Option<OnDownload>) -> Result<Data> + Send + Sync>;
/// A callback for the progress of downloads.
pub type OnDownload = Box<dyn Fn(Progress<'_>) + Send + Sync>;
/// Defaults of flags: pairs of a flag and its value.
pub(super) type Defaults = &'static [(&'static str, &'static str)];

/// The kind of a model.
pub enum ModelKind {
    /// A network with training.
    Network(Network),
    /// A baseline without training.
    Baseline(Baseline),
}

/// The functions that build a network from its configuration.
pub struct Network {
    build: BuildModel,
    target: ReadTarget,
}

impl Network {
    /// Builds the network with the flags `config`, for the shapes in `data`.
    ///
    /// # Errors
    /// Fails if a value of the configuration is impossible.
    pub fn build(&self, config: &Value, data: &DataSpec, placement: Placement) -> Result<Box<dyn Model>> {
        (self.build)(config, data, placement)
    }
}

/// An entry of the table of models.
pub struct ModelEntry {
    /// The name, as in `--model NAME`.
    pub name: &'static str,
    /// The line in `--help`.
    pub about: &'static str,
    /// The name of its task.
    pub task: &'static str,
    /// Its flags.
    pub flags: Flags,
    /// Its defaults for the flags of training, on data that have none.
    pub defaults: Defaults,
    /// Network or baseline.
    pub kind: ModelKind,
}

/// An entry of the table of data.
pub struct DataEntry {
    /// The name, as in `--data NAME`.
    pub name: &'static str,
    /// The line in `--help`.
    pub about: &'static str,
    /// The name of its task.
    pub task: &'static str,
    /// Its flags.
    pub flags: Flags,
    /// Its defaults for its flags.
    pub defaults: Defaults,
    /// Its defaults for the flags of training, for all models; `None` for those of the model.
    pub training: Option<Defaults>,
    build: BuildData,
}

/// A data module and its task.
pub struct Data {
    /// The data module, for the trainer.
    pub module: Rc<dyn DataModule>,
    /// The task, for all operations that depend on the kind of data.
    pub task: Box<dyn Task>,
    /// The flags of the data, with numbers in place of `auto`.
    pub config: Value,
    /// The data module of a time series; `None` for other data.
    pub series: Option<Rc<SeriesDataModule>>,
}

impl Data {
    /// Returns whether the model is to be trained on all rows after the run.
    pub fn refits(&self) -> bool {
        self.series.as_ref().is_some_and(|module| module.windows().refit_on_all)
    }

    /// Returns the same data with all rows in the training split; `None` for data without splits by time.
    ///
    /// # Errors
    /// Fails if the rows cannot be scaled.
    pub fn on_all_rows(&self) -> Result<Option<Self>> {
        let Some(module) = &self.series else { return Ok(None) };
        let module = Rc::new(module.on_all_rows()?);
        let levels = LevelConfig { level: self.task.levels().to_vec() };
        Ok(Some(Self {
            task: Box::new(Forecasting::new(Rc::clone(&module), levels)),
            series: Some(Rc::clone(&module)),
            module,
            config: self.config.clone(),
        }))
    }
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

    pub(super) fn classifier<C: Args + Serialize + DeserializeOwned + 'static, M: Model + 'static>(
        names: (&'static str, &'static str),
        defaults: Defaults,
        build: fn(&C, &DataSpec, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        Self::network(names, Classification::NAME, defaults, build, |_| Target::default())
    }

    pub(super) fn forecaster<
        C: ForecastConfig + Args + Serialize + DeserializeOwned + 'static,
        M: Model + 'static,
    >(
        names: (&'static str, &'static str),
        defaults: Defaults,
        build: fn(&C, &DataSpec, Placement) -> text_recognizer::Result<M>,
    ) -> Self {
        Self::network(names, Forecasting::NAME, defaults, build, C::target)
    }

    pub(super) fn baseline(baseline: Baseline, about: &'static str) -> Self {
        let (name, task, kind) = (baseline.name(), Forecasting::NAME, ModelKind::Baseline(baseline));
        Self { name, about, task, flags: Flags::none(), defaults: &[], kind }
    }

    /// Returns the values that the model with the flags `config` is trained to predict.
    ///
    /// # Errors
    /// Fails if `config` is not a configuration of this model.
    pub fn target(&self, config: &Value) -> Result<Target> {
        match &self.kind {
            ModelKind::Network(network) => (network.target)(config),
            ModelKind::Baseline(_) => Ok(Target::default()),
        }
    }
}

impl DataEntry {
    pub(super) fn classes<C: Args + Serialize + DeserializeOwned + 'static, D: DataModule + 'static>(
        (name, about): (&'static str, &'static str),
        build: fn(C, Option<OnDownload>) -> Result<D>,
    ) -> Self {
        let build = move |config: &Value, _: Target, download: Option<OnDownload>| -> Result<Data> {
            let module = Rc::new(build(typed(config, name)?, download)?);
            Ok(Data { module, task: Box::new(Classification), config: config.clone(), series: None })
        };
        let (task, flags) = (Classification::NAME, Flags::of::<C>());
        Self { name, about, task, flags, defaults: &[], training: None, build: Box::new(build) }
    }

    pub(super) fn series<C: Args + Serialize + DeserializeOwned + 'static>(
        (name, about): (&'static str, &'static str),
        defaults: Defaults,
        training: Option<Defaults>,
        read: fn(&C) -> Result<Panel>,
    ) -> Self {
        let build = move |config: &Value, target: Target, _: Option<OnDownload>| -> Result<Data> {
            let SeriesFlags { source, windows, baselines, levels } = typed::<SeriesFlags<C>>(config, name)?;
            check_levels(&levels.level)?;
            let panel = read(&source)?;
            let config = |windows: &WindowConfig| {
                let (windows, levels) = (windows.clone(), levels.clone());
                serde_json::to_value(SeriesFlags { source, windows, baselines: baselines.clone(), levels })
            };
            if panel.is_many() {
                let module = Rc::new(PanelDataModule::new(panel, windows, baselines.clone(), target)?);
                module.notes().iter().for_each(|note| log::info!("{note}"));
                let (config, task) = (config(module.windows())?, PanelForecasting::new(Rc::clone(&module)));
                return Ok(Data { task: Box::new(task), series: None, module, config });
            }
            let module = SeriesDataModule::new(panel.only()?, windows, baselines.clone(), target)?;
            let module = Rc::new(module);
            module.series().notes.iter().for_each(|note| log::info!("{note}"));
            let config = config(module.windows())?;
            let task = Box::new(Forecasting::new(Rc::clone(&module), levels));
            Ok(Data { task, series: Some(Rc::clone(&module)), module, config })
        };
        let (task, flags) = (Forecasting::NAME, Flags::of::<SeriesFlags<C>>());
        Self { name, about, task, flags, defaults, training, build: Box::new(build) }
    }

    /// Builds the data module for a model that predicts `target`. The module calls `download` during a download.
    ///
    /// # Errors
    /// Fails if a value of `config` is impossible, or if a file cannot be read.
    pub fn build(&self, config: &Value, target: Target, download: Option<OnDownload>) -> Result<Data> {
        (self.build)(config, target, download)
    }
}

/// The flags of a series, of the windows over it, and of the baselines for comparison.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
struct SeriesFlags<C: Args> {
    #[command(flatten)]
    source: C,
    #[command(flatten)]
    windows: WindowConfig,
    #[command(flatten)]
    baselines: BaselineConfig,
    #[command(flatten)]
    #[serde(default)]
    levels: LevelConfig,
}
