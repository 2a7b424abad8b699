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
use crate::time_series::{BaselineForecaster, Forecaster, NetworkForecaster};

/// Windows per batch of a forecast.
const BATCH_SIZE: usize = 1024;

/// Loads the forecasting model of the checkpoint `path`, on the CPU.
///
/// # Errors
/// Fails if the file is damaged, or is not a checkpoint of a forecasting model.
pub fn load_forecaster(path: &Path) -> Result<Box<dyn Forecaster>> {
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

fn forecaster(description: Description, weights: &[(String, tch::Tensor)]) -> Result<Box<dyn Forecaster>> {
    let Description { model: name, model_config, data, dtype, extras, .. } = description;
    let extras =
        ForecastingExtras::deserialize(extras).context("its description of the series is not valid")?;
    match &registry::model(&name)?.kind {
        ModelKind::Baseline(baseline) => Ok(Box::new(BaselineForecaster {
            baseline: *baseline,
            config: extras.baselines,
            horizon: horizon(&data)? as usize,
            stride: extras.stride,
        })),
        ModelKind::Network(network) => {
            let placement = Placement { device: Device::Cpu, kind: dtype.kind(), seed: 0 };
            let model = network.build(&model_config, &data, placement)?;
            model.parameters().load(weights)?;
            let lit = predictor(model, &extras, horizon(&data)?)?;
            let (scaler, stride) = (extras.scaler, extras.stride);
            Ok(Box::new(NetworkForecaster { name, lit, data, scaler, stride, batch_size: BATCH_SIZE }))
        }
    }
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
