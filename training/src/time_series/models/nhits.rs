//! N-HiTS: blocks that see the window and make the forecast at different rates.

use crate::flags::default_flags;
use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Linear, Parameters, Placement};
use text_recognizer::{Error, Result};

use super::blocks::{self, Block, BlockSizes, Hidden};
use super::{ForecastConfig, Window, check_blocks, check_dropout, check_layers, check_sizes};

/// The sizes of an [`Nhits`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NhitsConfig {
    /// Use a stack of blocks for each of these; its input is the maximum of each group of this many time steps.
    #[arg(long = "pool_kernels", value_delimiter = ',', default_value = "2,2,1")]
    pub pool_kernels: Vec<i64>,
    /// Forecast one value per this many steps in each stack, and interpolate between them.
    #[arg(long = "downsampling", value_delimiter = ',', default_value = "4,2,1")]
    pub downsampling: Vec<i64>,
    /// Use this many blocks per stack.
    #[arg(long = "blocks", default_value_t = 1)]
    pub blocks: i64,
    /// Use this many hidden layers per block, 1 to 1000.
    #[arg(long = "layers", default_value_t = 2)]
    pub layers: i64,
    /// Use this many units per hidden layer.
    #[arg(long = "units", default_value_t = 256)]
    pub units: i64,
    /// Drop a hidden unit in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
}

impl Default for NhitsConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for NhitsConfig {}

impl NhitsConfig {
    fn check(&self, window: Window) -> Result<()> {
        check_sizes([("units", self.units)])?;
        check_layers(self.layers)?;
        check_dropout(self.dropout)?;
        check_blocks("pool_kernels", self.pool_kernels.len(), self.blocks)?;
        if self.downsampling.len() != self.pool_kernels.len() {
            let expected = format!("{}, one per value of pool_kernels", self.pool_kernels.len());
            return Err(Error::invalid(
                "the number of values of downsampling",
                self.downsampling.len(),
                expected,
            ));
        }
        if let Some(kernel) = self.pool_kernels.iter().find(|kernel| !(1..=window.size).contains(kernel)) {
            let size = window.size;
            let expected = format!("1 to {size}, the window_size; try smaller numbers or a longer window");
            return Err(Error::invalid("pool_kernels", kernel, expected));
        }
        // A step larger than the horizon has one value, as one of the size of the horizon.
        match self.downsampling.iter().find(|&&step| step < 1) {
            Some(step) => Err(Error::invalid("downsampling", step, "at least 1")),
            None => Ok(()),
        }
    }
}

/// N-HiTS of Challu et al., "N-HiTS: Neural Hierarchical Interpolation for Time Series Forecasting", 2022: the blocks of
/// N-BEATS with a maximum over groups of time steps before, and a linear interpolation between the values of the forecast after.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`; the first `targets` features are the targets. All targets go
/// through the same blocks. Covariates are inputs of each block, without the maximum.
///
/// The paper has 512 units per layer. Here there are fewer by default, because series of a few thousand rows would take minutes.
#[derive(Debug)]
pub struct Nhits {
    parameters: Parameters,
    window: Window,
    blocks: Vec<NhitsBlock>,
}

impl Nhits {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are, for each block,
    /// `blocks.BLOCK.hidden.LAYER.weight`, `blocks.BLOCK.backcast.weight` (not for the last block), `blocks.BLOCK.forecast.weight`
    /// and their biases.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &NhitsConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        config.check(window)?;
        let covariates = window.size * window.covariates()?;
        let mut parameters = Parameters::new(placement);
        let stacks: Vec<(i64, i64)> =
            config.pool_kernels.iter().copied().zip(config.downsampling.iter().copied()).collect();
        let NhitsConfig { blocks, layers, units, dropout, .. } = *config;
        let sizes = BlockSizes { blocks, layers, units, dropout };
        let blocks = blocks::build(
            &mut parameters,
            &stacks,
            sizes,
            |(pool, _)| (window.size - 1) / pool + 1 + covariates,
            |parameters, &(pool, step), name, hidden, is_last| {
                let mut linear = |part: &str, outputs| -> Result<(String, Linear)> {
                    let name = format!("{name}.{part}");
                    let layer = Linear::new(parameters, &name, units, outputs)?;
                    Ok((name, layer))
                };
                let values = (window.horizon / step).max(1);
                let backcast = if is_last { None } else { Some(linear("backcast", window.size)?) };
                let forecast = linear("forecast", window.quantiles * values)?;
                Ok(NhitsBlock { pool, window, hidden, backcast, forecast })
            },
        )?;
        Ok(Self { parameters, window, blocks })
    }
}

impl Model for Nhits {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("nhits", x)?;
        blocks::forecast(&self.blocks, self.window, x, context)
    }
}

#[derive(Debug)]
struct NhitsBlock {
    pool: i64,
    window: Window,
    hidden: Hidden,
    /// The name and the weights of each output.
    backcast: Option<(String, Linear)>,
    forecast: (String, Linear),
}

impl Block for NhitsBlock {
    fn forward(
        &self,
        rest: &Tensor,
        covariates: Option<&Tensor>,
        context: &mut ForwardContext,
    ) -> Result<(Option<Tensor>, Tensor)> {
        let pooled = if self.pool == 1 {
            rest.shallow_clone()
        } else {
            rest.f_unsqueeze(1)?.f_max_pool1d(self.pool, self.pool, 0, 1, true)?.f_squeeze_dim(1)?
        };
        let hidden = self.hidden.forward(blocks::inputs(&pooled, covariates)?, context)?;
        let backcast = match &self.backcast {
            Some((name, layer)) => {
                let y = layer.forward(&hidden, context)?;
                Some(context.layer(name, y))
            }
            None => None,
        };
        let (name, layer) = &self.forecast;
        let values = layer.forward(&hidden, context)?; // [rows, quantiles * values]
        let Window { quantiles, horizon, .. } = self.window;
        let forecast = if values.size()[1] == quantiles * horizon {
            values
        } else {
            values
                .f_view([values.size()[0], quantiles, -1])?
                .f_upsample_linear1d(horizon, false, None)?
                .f_flatten(1, 2)?
        };
        Ok((backcast, context.layer(name, forecast)))
    }
}
