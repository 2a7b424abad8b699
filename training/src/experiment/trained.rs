//! Loads a forecasting model from a checkpoint.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tch::Device;
use text_recognizer::checkpoint::{self, Checkpoint, Description};
use text_recognizer::data::DataSpec;
use text_recognizer::lit_models::{LitConfig, LitModel, LossName};
use text_recognizer::models::Model;
use text_recognizer::nn::Placement;

use super::registry::{self, ModelKind};
use crate::tasks::{Forecasting, ForecastingExtras, LitForecaster};
use crate::time_series::{BaselineForecaster, Columns, Forecaster, NetworkForecaster};

/// Windows per batch of a forecast.
const BATCH_SIZE: usize = 1024;
/// The largest stride of a checkpoint: rows far beyond any series.
const MAX_STRIDE: usize = 1 << 32;

/// Loads the forecasting model of the checkpoint `path`, on the CPU. Returns the model and the columns that it forecasts.
///
/// # Errors
/// Fails if the file is damaged, or is not a checkpoint of a forecasting model.
pub fn load_forecaster(path: &Path) -> Result<(Box<dyn Forecaster>, Columns)> {
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

fn forecaster(
    description: Description,
    weights: &[(String, tch::Tensor)],
) -> Result<(Box<dyn Forecaster>, Columns)> {
    let Description { model: name, model_config, data, dtype, extras, .. } = description;
    let extras =
        ForecastingExtras::deserialize(extras).context("its description of the series is not valid")?;
    ensure!(
        (1..=MAX_STRIDE).contains(&extras.stride),
        "its stride is {}, expected 1 to {MAX_STRIDE}",
        extras.stride
    );
    ensure!(extras.scaler.is_valid(), "its scaling is not valid, expected finite shifts and positive scales");
    let columns = Columns { names: data.mapping.clone(), named: extras.named };
    let forecaster: Box<dyn Forecaster> = match &registry::model(&name)?.kind {
        ModelKind::Baseline(baseline) => Box::new(BaselineForecaster {
            baseline: *baseline,
            config: extras.baselines,
            horizon: horizon(&data)? as usize,
            stride: extras.stride,
        }),
        ModelKind::Network(network) => {
            let placement = Placement { device: Device::Cpu, kind: dtype.kind(), seed: 0 };
            let model = network.build(&model_config, &data, placement)?;
            model.parameters().load(weights)?;
            let lit = predictor(model, &extras, horizon(&data)?)?;
            let (scaler, stride) = (extras.scaler, extras.stride);
            Box::new(NetworkForecaster { lit, data, scaler, stride, batch_size: BATCH_SIZE })
        }
    };
    Ok((forecaster, columns))
}

fn horizon(data: &DataSpec) -> Result<i64> {
    data.output_dims
        .first()
        .copied()
        .filter(|&horizon| horizon > 0)
        .context("its output shape is not [horizon, columns]")
}

/// Returns a lit model for predictions. Its loss is not used.
fn predictor(model: Box<dyn Model>, extras: &ForecastingExtras, horizon: i64) -> Result<Rc<dyn LitModel>> {
    let config = LitConfig { loss: LossName::Mse, ..LitConfig::default() };
    Ok(Rc::new(LitForecaster::new(model, config, extras.scaler.clone(), horizon)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use text_recognizer::checkpoint::DType;

    use super::*;
    use crate::time_series::BaselineConfig;

    /// Describes a checkpoint of `naive` for one column.
    fn naive(stride: u64, scale: f64, output_dims: &[i64]) -> Description {
        let extras = json!({
            "scaler": {"shift": [0.0], "scale": [scale]},
            "stride": stride,
            "baselines": BaselineConfig::default(),
        });
        let data =
            DataSpec { input_dims: vec![7, 1], output_dims: output_dims.to_vec(), ..DataSpec::default() };
        let (model, task) = ("naive".to_owned(), Forecasting::NAME.to_owned());
        Description { model, model_config: json!({}), data, dtype: DType::Float32, task, extras }
    }

    #[test]
    fn forecaster_with_impossible_numbers_is_an_error() {
        assert_eq!(forecaster(naive(2, 1.0, &[3, 1]), &[]).unwrap().0.stride(), 2);
        for (description, part) in [
            (naive(0, 1.0, &[3, 1]), "stride is 0"),
            (naive(u64::MAX >> 1, 1.0, &[3, 1]), "stride is 9223372036854775807"),
            (naive(1, 0.0, &[3, 1]), "scaling"),
            (naive(1, 1.0, &[]), "horizon"),
        ] {
            let error = format!("{:#}", forecaster(description, &[]).err().unwrap());
            assert!(error.contains(part), "{error}");
        }
    }
}
