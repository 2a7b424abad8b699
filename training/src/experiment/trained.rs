//! Loads a forecasting model from a checkpoint.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use text_recognizer::checkpoint::{self, Checkpoint, Description};
use text_recognizer::data::DataSpec;
use text_recognizer::lit_models::{LitConfig, LitModel, LossName};
use text_recognizer::models::Model;
use text_recognizer::nn::Placement;

use super::registry::{self, ModelKind};
use crate::format::{count, listed};
use crate::tasks::{Forecasting, ForecastingExtras, LitForecaster};
use crate::time_series::{
    BaselineForecaster, Columns, Covariates, Fill, Forecaster, Frequency, Intervals, NetworkForecaster,
    PanelExtras, Roles,
};

/// Windows per batch of a forecast.
const BATCH_SIZE: usize = 1024;
/// The largest stride of a checkpoint: rows far beyond any series.
const MAX_STRIDE: usize = 1 << 32;

/// A forecasting model of a checkpoint, and what it needs of a series.
pub struct TrainedForecaster {
    /// The model.
    pub forecaster: Box<dyn Forecaster>,
    /// The columns that it forecasts.
    pub columns: Columns,
    /// The inputs that it needs beside these columns; `None` for none.
    pub roles: Option<Roles>,
    /// The series of a model of many series; `None` for one series.
    pub panel: Option<PanelExtras>,
    /// The values that it got for missing ones in training.
    pub fill: Fill,
    /// The rows per season of the series that it was trained on; `None` if unknown.
    pub season: Option<usize>,
    /// The frequency of the series that it was trained on; `None` if it has none or is not in the checkpoint.
    pub frequency: Option<Frequency>,
    /// The sizes of intervals; `None` if they are not in the checkpoint.
    pub intervals: Option<Intervals>,
}

/// Loads the forecasting model of the checkpoint `path`, on the CPU.
///
/// # Errors
/// Fails if the file is damaged, or is not a checkpoint of a forecasting model.
pub fn load_forecaster(path: &Path) -> Result<TrainedForecaster> {
    let Checkpoint { description, weights, .. } = checkpoint::load(path)?;
    let failed = || format!("cannot forecast with {}", path.display());
    ensure!(
        description.task == Forecasting::NAME,
        "{}: its task is {}, expected {}",
        failed(),
        description.task,
        Forecasting::NAME
    );
    forecaster(description, &weights).with_context(failed)
}

fn forecaster(description: Description, weights: &[(String, tch::Tensor)]) -> Result<TrainedForecaster> {
    let Description { model: name, model_config, data, dtype, extras, .. } = description;
    let extras =
        ForecastingExtras::deserialize(extras).context("its description of the series is not valid")?;
    let horizon = check(&data, &extras)?;
    let columns = Columns { names: data.mapping.clone(), named: extras.named };
    let (fill, season, frequency) = (extras.fill, extras.baselines.season, extras.frequency);
    let intervals = extras.intervals.clone();
    let panel = extras.panel.clone();
    let mut roles = extras.covariates.as_ref().map(|covariates| covariates.roles.clone());
    let forecaster: Box<dyn Forecaster> = match &registry::model(&name)?.kind {
        ModelKind::Baseline(baseline) => {
            roles = None;
            Box::new(BaselineForecaster {
                baseline: *baseline,
                config: extras.baselines,
                horizon: horizon as usize,
                stride: extras.stride,
            })
        }
        ModelKind::Network(network) => {
            let placement = Placement { kind: dtype.kind(), ..Placement::cpu(0).for_weights(weights) };
            let shapes = match &extras.quantiles {
                Some(quantiles) => quantiles.shapes(data.clone()),
                None => data.clone(),
            };
            let model = network.build(&model_config, &shapes, placement)?;
            model.parameters().load(weights)?;
            let lit = predictor(model, &extras, horizon)?;
            let ForecastingExtras { scaler, covariates, quantiles, stride, .. } = extras;
            Box::new(NetworkForecaster {
                lit,
                data,
                scaler,
                covariates,
                statics: None,
                quantiles,
                stride,
                batch_size: BATCH_SIZE,
            })
        }
    };
    Ok(TrainedForecaster { forecaster, columns, roles, panel, fill, season, frequency, intervals })
}

/// Checks the numbers of a checkpoint against each other, before a model is built of them. Returns the horizon.
fn check(data: &DataSpec, extras: &ForecastingExtras) -> Result<i64> {
    let columns = data.mapping.len();
    let (inputs, outputs) = (&data.input_dims, &data.output_dims);
    let (&[_, features], &[horizon, targets]) = (&inputs[..], &outputs[..]) else {
        bail!(
            "its shapes are {inputs:?} and {outputs:?}, expected [window_size, columns] and [horizon, columns]"
        );
    };
    let _ = (data.inputs()?, data.outputs()?); // All sizes are positive.
    let of_panel = extras.panel.as_ref().map_or(0, |panel| panel.statics.inputs());
    let of_rows = extras.covariates.as_ref().map_or(0, |covariates| covariates.roles.inputs());
    let inputs = columns + of_rows + of_panel;
    ensure!(
        features as usize == inputs && targets as usize == columns && extras.scaler.columns() == columns,
        "its inputs have {features} columns, its forecasts {targets} and its scaling {}, expected {columns}, as many as it has \
         names: {}{}",
        extras.scaler.columns(),
        listed(&data.mapping),
        if inputs > columns {
            format!(", and {} more inputs for its covariates", inputs - columns)
        } else {
            String::new()
        }
    );
    extras.covariates.iter().try_for_each(Covariates::check)?;
    ensure!(
        extras.quantiles.is_none() || extras.panel.is_none(),
        "it has quantiles of many series, expected those of one series"
    );
    extras.panel.iter().try_for_each(|panel| panel.check(columns))?;
    let stride = extras.stride;
    ensure!((1..=MAX_STRIDE).contains(&stride), "its stride is {stride}, expected 1 to {MAX_STRIDE}");
    ensure!(extras.scaler.is_valid(), "its scaling is not valid, expected finite shifts and positive scales");
    extras.baselines.validate()?;
    if let Some(intervals) = &extras.intervals {
        ensure!(
            intervals.is_valid(horizon as usize, columns, extras.quantiles.as_ref()),
            "its intervals are not valid, expected sizes for {horizon} steps ahead of {}",
            count(columns as u64, "column")
        );
    }
    Ok(horizon)
}

/// Returns a lit model for predictions. Its loss is not used.
fn predictor(model: Box<dyn Model>, extras: &ForecastingExtras, horizon: i64) -> Result<Rc<dyn LitModel>> {
    let config = match &extras.quantiles {
        Some(quantiles) => LitConfig {
            loss: LossName::Quantile,
            quantiles: quantiles.values().to_vec(),
            ..LitConfig::default()
        },
        None => LitConfig { loss: LossName::Mse, ..LitConfig::default() },
    };
    Ok(Rc::new(LitForecaster::new(model, config, extras.scaler.clone(), horizon)?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tch::{Tensor, kind};

    use super::*;
    use crate::time_series::BaselineConfig;

    /// Returns the metadata of a checkpoint of `model` for two columns, windows of 7 rows and 3 steps ahead.
    fn metadata(model: &str, config: &Value) -> Value {
        let (zeros, ones) = ([0.0; 2], [1.0; 2]);
        let extras = json!({
            "scaler": {"shift": zeros, "scale": ones},
            "stride": 2,
            "baselines": BaselineConfig::default(),
        });
        let data = json!({"input_dims": [7, 2], "output_dims": [3, 2], "mapping": ["a", "b"]});
        let fields = json!({"model": model, "model_config": config, "data": data, "dtype": "float32",
            "task": Forecasting::NAME, "extras": extras});
        json!({"description": fields})
    }

    /// Writes a checkpoint with a correct digest, and loads it.
    fn load(metadata: &Value, weights: &[(String, Tensor)]) -> Result<Box<dyn Forecaster>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        checkpoint::write(&path, weights, metadata).unwrap();
        load_forecaster(&path).map(|trained| trained.forecaster)
    }

    /// Returns the weights of the model that `metadata` describes.
    fn weights(metadata: &Value) -> Vec<(String, Tensor)> {
        let description = Description::deserialize(&metadata["description"]).unwrap();
        let ModelKind::Network(network) = &registry::model(&description.model).unwrap().kind else {
            return Vec::new();
        };
        let model = network.build(&description.model_config, &description.data, Placement::cpu(0)).unwrap();
        model.parameters().snapshot()
    }

    const MODELS: [&str; 14] = [
        "linear",
        "dnn",
        "rnn",
        "lstm",
        "gru",
        "conv_lstm",
        "nlinear",
        "dlinear",
        "nbeats",
        "nhits",
        "tide",
        "tcn",
        "patchtst",
        "naive",
    ];

    /// The flags of sizes that are above 0, of all models.
    const SIZES: [&str; 13] = [
        "units",
        "layers",
        "filters",
        "kernel_size",
        "blocks",
        "encoder_layers",
        "decoder_layers",
        "decoder_outputs",
        "temporal_units",
        "patch_len",
        "patch_stride",
        "heads",
        "feedforward_units",
    ];

    /// The limits that an error about a size names.
    const LIMITS: [&str; 8] = [
        "expected at most",
        "at least 1",
        "1 to 1000",
        "memory",
        "the set of weights",
        "window_size",
        "a multiple of the heads",
        "the patch_len",
    ];

    #[test]
    fn checkpoint_with_other_columns_or_scaling_is_an_error() {
        for model in MODELS {
            let good = metadata(model, &json!({}));
            let weights = weights(&good);
            assert_eq!(load(&good, &weights).unwrap().stride(), 2, "{model}");
            let huge = 1u64 << 40;
            let cases = [
                ("/data/input_dims", json!([7, 3]), "3 columns"),
                ("/data/input_dims", json!([7, -2]), "[7, -2]"),
                ("/data/input_dims", json!([0, 2]), "[0, 2]"),
                ("/data/input_dims", json!([i64::MAX, 2]), "fits in an i64"),
                ("/data/input_dims", json!([14]), "its shapes are [14]"),
                ("/data/output_dims", json!([]), "its shapes are"),
                ("/data/output_dims", json!([0, 2]), "[0, 2]"),
                ("/data/output_dims", json!([-1, 2]), "[-1, 2]"),
                ("/data/output_dims", json!([3, huge]), "its forecasts 1099511627776"),
                ("/data/mapping", json!(["a"]), "expected 1, as many as it has names: a"),
                ("/data/mapping", json!([]), "expected 0"),
                ("/extras/scaler/shift", json!([0.0, 0.0, 0.0]), "its scaling 3"),
                ("/extras/scaler/scale", json!([1.0]), "scaling is not valid"),
                ("/extras/scaler/scale", json!([1.0, 0.0]), "scaling is not valid"),
                ("/extras/scaler/scale", json!([1.0, null]), "description of the series"),
                ("/extras/stride", json!(0), "stride is 0"),
                ("/extras/stride", json!(u64::MAX), "stride is 18446744073709551615"),
                ("/extras/stride", json!(-1), "description of the series"),
                ("/extras/baselines/average", json!(0), "average is 0"),
                ("/extras/baselines/season", json!(0), "season is 0"),
                ("/model", json!("mlpp"), "mlpp"),
            ];
            for (place, value, part) in cases {
                let mut bad = good.clone();
                *bad["description"].pointer_mut(place).unwrap() = value.clone();
                let error = format!("{:#}", load(&bad, &weights).err().unwrap());
                assert!(error.contains(part) && error.contains("x.safetensors"), "{model} {value}: {error}");
            }
            for (intervals, part) in
                [(json!([]), "its intervals are not valid"), (json!(1), "description of the series")]
            {
                let mut bad = good.clone();
                bad["description"]["extras"]["intervals"] = json!({"steps": intervals});
                let error = format!("{:#}", load(&bad, &weights).err().unwrap());
                assert!(error.contains(part), "{model}: {error}");
            }
        }
    }

    /// Sizes that the weights do not have are errors before memory is taken: some of these models would take terabytes.
    #[test]
    fn checkpoint_of_a_larger_model_than_its_weights_is_an_error() {
        for model in MODELS.into_iter().filter(|model| !["linear", "naive"].contains(model)) {
            let good = metadata(model, &json!({}));
            let weights = weights(&good);
            let defaults = (registry::model(model).unwrap().flags.augment)(clap::Command::new(""));
            let has = |size: &str| defaults.get_arguments().any(|arg| arg.get_id() == size);
            for size in SIZES.into_iter().filter(|size| has(size)) {
                for value in [-1, 0, 900, 50_000, 1 << 31, 1 << 40, i64::MAX] {
                    let bad = metadata(model, &json!({size: value}));
                    let error = format!("{:#}", load(&bad, &weights).err().unwrap());
                    let found = LIMITS.iter().any(|part| error.contains(part));
                    assert!(found && error.contains("x.safetensors"), "{model} {size} {value}: {error}");
                }
            }
            if has("units") && has("layers") {
                let several = metadata(model, &json!({"units": 5000, "layers": 1000}));
                let error = format!("{:#}", load(&several, &weights).err().unwrap());
                assert!(error.contains("expected at most"), "{model}: {error}");
            }
            for dims in ["input_dims", "output_dims"] {
                let mut bad = good.clone();
                bad["description"]["data"][dims] = json!([1i64 << 40, 2]);
                // The number of steps of a window has no effect on recurrent layers.
                let error = load(&bad, &weights).err().map(|error| format!("{error:#}"));
                let recurrent = dims == "input_dims" && ["rnn", "lstm", "gru", "conv_lstm"].contains(&model);
                assert_eq!(error.is_none(), recurrent, "{model} {dims}: {error:?}");
            }
        }
        let mut bad = metadata("linear", &json!({}));
        let weights = weights(&bad);
        bad["description"]["data"]["input_dims"] = json!([1i64 << 40, 2]);
        let error = format!("{:#}", load(&bad, &weights).err().unwrap());
        assert!(error.contains("[6, 2199023255552]: expected at most 65716 values"), "{error}");
        let many: Vec<_> =
            (0..100_000).map(|at| (format!("{at}"), Tensor::zeros([0], kind::FLOAT_CPU))).collect();
        let error = format!("{:#}", load(&metadata("dnn", &json!({})), &many).err().unwrap());
        assert!(error.len() < 1000, "{error}");
    }
}
