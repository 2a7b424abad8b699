//! The two static tables of models and data: the values of `--model` and `--data`.
//!
//! To add a model, write a file with its config and its [`Model`](text_recognizer::models::Model), and add one line here.

use std::sync::LazyLock;

use anyhow::{Context, Result, bail};
use clap::Command;
use serde_json::Value;
use text_recognizer::data::{Mnist, MnistConfig, MnistDataset};
use text_recognizer::models::{Mlp, MlpConfig};

use crate::time_series::models;
use crate::time_series::{Baseline, CsvConfig, Panel, SyntheticConfig, read_panel, synthetic};

mod entry;

use entry::Defaults;
pub use entry::{Data, DataEntry, Flags, ModelEntry, ModelKind, Network, OnDownload};

/// Makes the defaults of the TensorFlow time-series course, followed by the given defaults of a model.
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
/// The defaults of the windows over a file.
const FILE: Defaults =
    &[("split_time", "0.8"), ("window_size", "auto"), ("shuffle_buffer", "full"), ("scaling", "window")];

/// The flags with a default for all models that only some models have.
pub const OF_SOME_MODELS: &[&str] = &["output_scale"];

/// The defaults of training on a file. With them, linear, dnn and gru beat the naive forecast on series of many kinds: with trend,
/// with seasons, and counts that are mostly 0, but not on a random walk; docs/forecast.md has the figures. The loss is the error
/// that the results are compared by.
const OF_FILES: Defaults = &[
    ("loss", "mae"),
    ("optimizer", "adam"),
    ("lr", "1e-2"),
    ("lr_schedule", "cosine"),
    ("max_epochs", "auto"),
    ("batch_size", "auto"),
    ("early_stop_patience", "100"),
    ("output_scale", "1"),
];

// After five epochs, the accuracy is 97.3 to 98.0 % with a constant learning rate, and 97.7 to 98.0 % with this schedule. A
// cosine schedule would depend on the length of the run, which a resumed run may change.
const MLP: Defaults = &[("lr_schedule", "exponential"), ("lr_epochs_per_decade", "-20")];

/// All models.
pub static MODELS: LazyLock<Vec<ModelEntry>> = LazyLock::new(|| {
    vec![
        ModelEntry::classifier::<MlpConfig, _>(("mlp", "two hidden layers with dropout"), MLP, Mlp::new),
        ModelEntry::forecaster(("linear", "linear regression over the window"), DENSE, models::Linear::new),
        ModelEntry::forecaster(("dnn", "dense layers over the window"), DENSE, models::Dnn::new),
        ModelEntry::forecaster(("rnn", "simple recurrent layers"), RNN, models::Rnn::new),
        ModelEntry::forecaster(("lstm", "long short-term memory"), DENSE, models::Lstm::new),
        ModelEntry::forecaster(("gru", "gated recurrent units"), DENSE, models::Gru::new),
        ModelEntry::forecaster(("conv_lstm", "causal convolution and LSTM"), CONV, models::ConvLstm::new),
        ModelEntry::forecaster(("nlinear", "NLinear of Zeng et al. 2022"), OF_FILES, models::Nlinear::new),
        ModelEntry::forecaster(("dlinear", "DLinear of Zeng et al. 2022"), OF_FILES, models::Dlinear::new),
        ModelEntry::forecaster(("nbeats", "N-BEATS of Oreshkin et al. 2020"), OF_FILES, models::Nbeats::new),
        ModelEntry::forecaster(("nhits", "N-HiTS of Challu et al. 2022"), OF_FILES, models::Nhits::new),
        ModelEntry::forecaster(("tide", "TiDE of Das et al. 2023"), OF_FILES, models::Tide::new),
        ModelEntry::forecaster(("tcn", "TCN of Bai et al. 2018"), OF_FILES, models::Tcn::new),
        ModelEntry::forecaster(("patchtst", "PatchTST of Nie et al. 2023"), OF_FILES, models::PatchTst::new),
        ModelEntry::baseline(Baseline::Naive, "the last value; not trained"),
        ModelEntry::baseline(Baseline::MovingAverage, "the mean of the last values; not trained"),
        ModelEntry::baseline(Baseline::SeasonalNaive, "the value one season ago; not trained"),
        ModelEntry::baseline(
            Baseline::Differencing,
            "the values one season ago and the latest change; not trained",
        ),
        ModelEntry::baseline(Baseline::AutoEts, "exponential smoothing (ETS), the form by AICc; not trained"),
        ModelEntry::baseline(Baseline::AutoTheta, "the theta method, its best form; not trained"),
        ModelEntry::baseline(
            Baseline::Mstl,
            "a decomposition into seasons, and exponential smoothing; not trained",
        ),
        ModelEntry::baseline(Baseline::Croston, "Croston's method, for demand with many zeros; not trained"),
        ModelEntry::baseline(
            Baseline::Tsb,
            "Teunter-Syntetos-Babai, for demand with many zeros; not trained",
        ),
    ]
});

/// All data.
pub static DATA: LazyLock<Vec<DataEntry>> = LazyLock::new(|| {
    vec![
        DataEntry::classes::<MnistConfig, _>(("mnist", "handwritten digits"), |config, download| {
            mnist(MnistDataset::Mnist, config, download)
        }),
        DataEntry::classes::<MnistConfig, _>(
            ("fashion_mnist", "articles of clothing"),
            |config, download| mnist(MnistDataset::FashionMnist, config, download),
        ),
        DataEntry::series::<SyntheticConfig>(
            ("series", "the synthetic series of the TensorFlow course"),
            &[],
            None,
            |config| Ok(Panel::of(synthetic(config)?, Vec::new())),
        ),
        DataEntry::series::<CsvConfig>(
            ("csv", "columns of a file: CSV, Parquet or .xlsx"),
            FILE,
            Some(OF_FILES),
            |config| read_panel(config, None),
        ),
    ]
});

fn mnist(dataset: MnistDataset, config: MnistConfig, download: Option<OnDownload>) -> Result<Mnist> {
    let mnist = Mnist::new(dataset, config)?;
    Ok(match download {
        Some(download) => mnist.on_progress(download),
        None => mnist,
    })
}

/// Returns the model with this name.
///
/// # Errors
/// Fails if there is no such model, with a list of all.
pub fn model(name: &str) -> Result<&'static ModelEntry> {
    let names = || MODELS.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    MODELS
        .iter()
        .find(|entry| entry.name == name)
        .with_context(|| format!("cannot find the model {name}: expected one of {}", names()))
}

/// Returns the data with this name.
///
/// # Errors
/// Fails if there is no such data, with a list of all.
pub fn data(name: &str) -> Result<&'static DataEntry> {
    let names = || DATA.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
    DATA.iter()
        .find(|entry| entry.name == name)
        .with_context(|| format!("cannot find the data {name}: expected one of {}", names()))
}

/// Returns the defaults of the flags of a model on data, as pairs of a flag and its value.
pub fn defaults(
    model: &ModelEntry,
    data: &DataEntry,
) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    data.training.unwrap_or(model.defaults).iter().chain(data.defaults)
}

/// Returns the flags of a model on data, all with their defaults.
///
/// # Errors
/// Fails if a flag has no default.
pub fn model_defaults(model: &ModelEntry, data: &DataEntry) -> Result<Value> {
    let command = (model.flags.augment)(Command::new("model").no_binary_name(true));
    let is_flag = |flag: &str| command.get_arguments().any(|arg| arg.get_id() == flag);
    let defaults: Vec<_> = defaults(model, data).filter(|(flag, _)| is_flag(flag)).collect();
    let command = defaults
        .into_iter()
        .fold(command, |command, (flag, value)| command.mut_arg(*flag, |arg| arg.default_value(*value)));
    (model.flags.read)(&command.try_get_matches_from([""; 0])?)
}

/// The default of `--model`.
pub const DEFAULT_MODEL: &str = "mlp";

/// Returns the default data of a model: the first data of its task.
pub fn default_data(model: &str) -> &'static str {
    let task = MODELS.iter().find(|entry| entry.name == model).map(|entry| entry.task);
    DATA.iter().find(|entry| Some(entry.task) == task).unwrap_or(&DATA[0]).name
}

/// Checks that a model and data have the same task.
///
/// # Errors
/// Fails if they do not, with a list of the data for the model, and of the models for the data.
pub fn check_pair(model: &ModelEntry, data: &DataEntry) -> Result<()> {
    if model.task != data.task {
        let models: Vec<&str> = MODELS.iter().filter(|m| m.task == data.task).map(|m| m.name).collect();
        let modules: Vec<&str> = DATA.iter().filter(|d| d.task == model.task).map(|d| d.name).collect();
        bail!(
            "cannot train {0} on {1}: expected --data {2} for {0}, or --model {3} for {1}",
            model.name,
            data.name,
            modules.join(", "),
            models.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
