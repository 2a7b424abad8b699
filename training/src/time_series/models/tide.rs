//! TiDE: dense residual blocks that encode the window and decode the forecast.

use crate::flags::default_flags;
use clap::{ArgAction, Args};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, LayerNorm, Linear, Parameters, Placement};
use text_recognizer::{Error, Result};

use super::{ForecastConfig, Window, check_dropout, check_number, check_sizes};

/// The sizes of a [`Tide`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TideConfig {
    /// Use this many units in the blocks of the encoder and the decoder.
    #[arg(long = "units", default_value_t = 128)]
    pub units: i64,
    /// Use this many blocks in the encoder, 1 to 1000.
    #[arg(long = "encoder_layers", default_value_t = 1)]
    pub encoder_layers: i64,
    /// Use this many blocks in the decoder, 1 to 1000.
    #[arg(long = "decoder_layers", default_value_t = 1)]
    pub decoder_layers: i64,
    /// Decode this many values per step ahead, from which the last block makes the forecast.
    #[arg(long = "decoder_outputs", default_value_t = 16)]
    pub decoder_outputs: i64,
    /// Use this many units in the last block, which has the same weights for each step ahead.
    #[arg(long = "temporal_units", default_value_t = 32)]
    pub temporal_units: i64,
    /// Reduce the covariates of a time step to this many values.
    #[arg(long = "temporal_width", default_value_t = 4)]
    pub temporal_width: i64,
    /// Normalize the output of each block but the last.
    #[arg(long = "layer_norm", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value_t = false)]
    pub layer_norm: bool,
    /// Drop an output of a block in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.1)]
    pub dropout: f64,
}

impl Default for TideConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for TideConfig {}

/// TiDE of Das et al., "Long-term Forecasting with TiDE: Time-series Dense Encoder", 2023: residual blocks encode the window and
/// decode some values per step ahead; a last block maps these to the forecast; a linear layer over the window of each target is
/// added. `x: [batch, window_size, features] -> [batch, horizon, targets]`; the first `targets` features are the targets.
///
/// The covariates of each time step are reduced to a few values first. The last block also gets those of the last `horizon` time
/// steps of the window: of the steps ahead, if the covariates are known beforehand. All targets are encoded together, as in darts.
///
/// The paper tunes the sizes for each data set. The defaults are those of darts. The last block has no layer normalization,
/// because with one target its output would be constant.
#[derive(Debug)]
pub struct Tide {
    parameters: Parameters,
    window: Window,
    projection: Option<ResidualBlock>,
    /// The encoder, then the decoder.
    blocks: Vec<ResidualBlock>,
    temporal: ResidualBlock,
    skip: Linear,
}

impl Tide {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its blocks are `projection` (with
    /// covariates only), `encoder.LAYER`, `decoder.LAYER` and `temporal`, each with `hidden.weight`, `output.weight`,
    /// `skip.weight` and their biases, and with `norm.weight` and `norm.bias` if `layer_norm` is set; then `skip.weight`,
    /// `[horizon, window_size]`, and `skip.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, if a value of `config` is impossible, or if there are covariates and
    /// the window is shorter than the horizon.
    pub fn new(config: &TideConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let TideConfig { units, decoder_outputs, temporal_units, temporal_width, .. } = *config;
        check_sizes([
            ("units", units),
            ("decoder_outputs", decoder_outputs),
            ("temporal_units", temporal_units),
            ("temporal_width", temporal_width),
        ])?;
        check_number("encoder_layers", config.encoder_layers)?;
        check_number("decoder_layers", config.decoder_layers)?;
        check_dropout(config.dropout)?;
        let window = Window::new(data)?;
        let covariates = window.covariates()?;
        if covariates > 0 && window.size < window.horizon {
            let expected = format!("at least the horizon, {}, with covariates", window.horizon);
            return Err(Error::invalid("window_size", window.size, expected));
        }
        let mut parameters = Parameters::new(placement);
        let mut block = |name: &str, sizes, norm| {
            ResidualBlock::new(&mut parameters, name, sizes, (config.dropout, norm))
        };
        let norm = config.layer_norm;
        let projection = match covariates {
            0 => None,
            _ => Some(block("projection", [covariates, units, temporal_width], norm)?),
        };
        let width = if covariates > 0 { temporal_width } else { 0 };
        let mut inputs =
            width.checked_add(window.targets).and_then(|columns| columns.checked_mul(window.size));
        let mut blocks = Vec::new();
        for (part, layers) in [("encoder", config.encoder_layers), ("decoder", config.decoder_layers)] {
            for layer in 0..layers {
                let is_last = part == "decoder" && layer + 1 == layers;
                let outputs = if is_last { decoder_outputs.saturating_mul(window.horizon) } else { units };
                let sizes = [inputs.unwrap_or(i64::MAX), units, outputs];
                blocks.push(block(&format!("{part}.{layer}"), sizes, norm)?);
                inputs = Some(outputs);
            }
        }
        let sizes = [decoder_outputs.saturating_add(width), temporal_units, window.columns()];
        let temporal = block("temporal", sizes, false)?;
        let skip = Linear::new(&mut parameters, "skip", window.size, window.quantiles * window.horizon)?;
        Ok(Self { parameters, window, projection, blocks, temporal, skip })
    }
}

impl Model for Tide {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("tide", x)?;
        let Window { size, features, horizon, targets, .. } = self.window;
        let past = x.f_narrow(2, 0, targets)?; // [batch, window_size, targets]
        let covariates = match &self.projection {
            Some(block) => Some(block.forward(&x.f_narrow(2, targets, features - targets)?, context)?),
            None => None,
        };
        let mut y = past.f_flatten(1, 2)?;
        if let Some(covariates) = &covariates {
            y = Tensor::f_cat(&[y, covariates.f_flatten(1, 2)?], 1)?;
        }
        for block in &self.blocks {
            y = block.forward(&y, context)?;
        }
        let mut y = y.f_view([x.size()[0], horizon, -1])?; // [batch, horizon, decoder_outputs]
        if let Some(covariates) = &covariates {
            y = Tensor::f_cat(&[y, covariates.f_narrow(1, size - horizon, horizon)?], 2)?;
        }
        let y = self.temporal.forward(&y, context)?; // [batch, horizon, columns]
        let skip = self.window.by_step(&self.skip.forward(&past.f_transpose(1, 2)?, context)?)?;
        let skip = context.layer("skip", skip);
        Ok(y.f_add(&skip)?)
    }
}

/// A dense layer with ReLU, a dense layer with dropout, a linear skip connection around both, and layer normalization.
/// `x: [..., inputs] -> [..., outputs]`.
#[derive(Debug)]
struct ResidualBlock {
    name: String,
    hidden: Linear,
    output: Linear,
    skip: Linear,
    norm: Option<LayerNorm>,
    dropout: f64,
}

impl ResidualBlock {
    fn new(
        parameters: &mut Parameters,
        name: &str,
        [inputs, units, outputs]: [i64; 3],
        (dropout, norm): (f64, bool),
    ) -> Result<Self> {
        let mut linear =
            |part: &str, inputs, outputs| Linear::new(parameters, &format!("{name}.{part}"), inputs, outputs);
        let hidden = linear("hidden", inputs, units)?;
        let output = linear("output", units, outputs)?;
        let skip = linear("skip", inputs, outputs)?;
        let norm =
            if norm { Some(LayerNorm::new(parameters, &format!("{name}.norm"), outputs)?) } else { None };
        Ok(Self { name: name.to_owned(), hidden, output, skip, norm, dropout })
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let hidden = self.hidden.forward(x, context)?.f_relu()?;
        let output = self.output.forward(&hidden, context)?;
        let output = context.dropout(output, self.dropout)?;
        let y = output.f_add(&self.skip.forward(x, context)?)?;
        let y = self.norm.as_ref().map(|norm| norm.forward(&y)).transpose()?.unwrap_or(y);
        Ok(context.layer(&self.name, y))
    }
}
