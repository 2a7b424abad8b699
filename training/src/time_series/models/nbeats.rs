//! N-BEATS: blocks of dense layers with bases for the window and the forecast.

use crate::flags::default_flags;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Linear, Parameters, Placement};
use text_recognizer::{Error, Result};

use super::blocks::{self, Block, BlockSizes, Hidden};
use super::{ForecastConfig, Window, check_blocks, check_dropout, check_layers, check_sizes};

/// The basis of the blocks of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum StackType {
    /// A learned basis.
    Generic,
    /// Polynomials of time.
    Trend,
    /// Sines and cosines of time.
    Seasonality,
}

/// The sizes of an [`Nbeats`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NbeatsConfig {
    /// Use a stack of blocks for each of these; trend,seasonality is the interpretable model of the paper.
    #[arg(long = "stack_types", value_enum, value_delimiter = ',', default_value = "generic")]
    pub stack_types: Vec<StackType>,
    /// Use this many blocks per stack.
    #[arg(long = "blocks", default_value_t = 3)]
    pub blocks: i64,
    /// Use this many hidden layers per block, 1 to 1000.
    #[arg(long = "layers", default_value_t = 4)]
    pub layers: i64,
    /// Use this many units per hidden layer.
    #[arg(long = "units", default_value_t = 128)]
    pub units: i64,
    /// Use polynomials up to this degree in a trend stack, 0 to 100.
    #[arg(long = "degree", default_value_t = 2)]
    pub degree: i64,
    /// Drop a hidden unit in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.0)]
    pub dropout: f64,
}

impl Default for NbeatsConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for NbeatsConfig {}

impl NbeatsConfig {
    fn check(&self, window: Window) -> Result<()> {
        check_sizes([("units", self.units)])?;
        check_layers(self.layers)?;
        check_dropout(self.dropout)?;
        check_blocks("stack_types", self.stack_types.len(), self.blocks)?;
        if !(0..=100).contains(&self.degree) {
            return Err(Error::invalid("degree", self.degree, "0 to 100"));
        }
        // The basis of a seasonality stack has about steps * steps values.
        const MOST: i64 = 4096;
        let long = [("window_size", window.size), ("horizon", window.horizon)].into_iter();
        match long.into_iter().find(|(_, steps)| *steps > MOST) {
            Some((name, steps)) if self.stack_types.contains(&StackType::Seasonality) => {
                Err(Error::invalid(name, steps, format!("at most {MOST} with a seasonality stack")))
            }
            _ => Ok(()),
        }
    }
}

/// N-BEATS of Oreshkin et al., "N-BEATS: Neural basis expansion analysis for interpretable time series forecasting", 2020. Each
/// block forecasts from the part of the window that the blocks before it did not explain; the forecast is the sum over all blocks.
/// `x: [batch, window_size, features] -> [batch, horizon, targets]`; the first `targets` features are the targets. All targets go
/// through the same blocks. Covariates are inputs of each block, as in NBEATSx of Olivares et al. 2023.
///
/// The paper has 30 generic blocks of 512 units, or 3 blocks of 256 and 3 of 2048 units with shared weights. Here there are fewer
/// blocks and units, without shared weights, because series of a few thousand rows would take minutes.
#[derive(Debug)]
pub struct Nbeats {
    parameters: Parameters,
    window: Window,
    blocks: Vec<NbeatsBlock>,
}

impl Nbeats {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are, for each block,
    /// `blocks.BLOCK.hidden.LAYER.weight`, `blocks.BLOCK.backcast.weight` (not for the last block), `blocks.BLOCK.forecast.weight`
    /// and their biases.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &NbeatsConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let window = Window::new(data)?;
        config.check(window)?;
        let inputs = window.size * (1 + window.covariates()?);
        let mut parameters = Parameters::new(placement);
        let NbeatsConfig { blocks, layers, units, dropout, .. } = *config;
        let sizes = BlockSizes { blocks, layers, units, dropout };
        let blocks = blocks::build(
            &mut parameters,
            &config.stack_types,
            sizes,
            |_| inputs,
            |parameters, stack, name, hidden, is_last| {
                let basis = |steps, sums| Basis { stack: *stack, degree: config.degree, steps, sums };
                let mut expansion =
                    |part: &str, basis| Expansion::new(parameters, format!("{name}.{part}"), units, basis);
                let backcast =
                    if is_last { None } else { Some(expansion("backcast", basis(window.size, 1))?) };
                let forecast = expansion("forecast", basis(window.horizon, window.quantiles))?;
                Ok(NbeatsBlock { hidden, backcast, forecast })
            },
        )?;
        Ok(Self { parameters, window, blocks })
    }
}

impl Model for Nbeats {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("nbeats", x)?;
        blocks::forecast(&self.blocks, self.window, x, context)
    }
}

#[derive(Debug)]
struct NbeatsBlock {
    hidden: Hidden,
    backcast: Option<Expansion>,
    forecast: Expansion,
}

impl Block for NbeatsBlock {
    fn forward(
        &self,
        rest: &Tensor,
        covariates: Option<&Tensor>,
        context: &mut ForwardContext,
    ) -> Result<(Option<Tensor>, Tensor)> {
        let hidden = self.hidden.forward(blocks::inputs(rest, covariates)?, context)?;
        let backcast =
            self.backcast.as_ref().map(|backcast| backcast.forward(&hidden, context)).transpose()?;
        Ok((backcast, self.forecast.forward(&hidden, context)?))
    }
}

/// A basis over `steps` time steps.
#[derive(Debug, Clone, Copy)]
struct Basis {
    stack: StackType,
    degree: i64,
    steps: i64,
    /// The number of sums over the basis, each with coefficients of its own.
    sums: i64,
}

impl Basis {
    /// Returns the number of coefficients.
    fn coefficients(self) -> i64 {
        match self.stack {
            StackType::Generic => self.steps,
            StackType::Trend => self.degree + 1,
            StackType::Seasonality => 2 * self.harmonics() + 1,
        }
    }

    /// Returns the number of sines: half of the time steps, less one.
    fn harmonics(self) -> i64 {
        (self.steps / 2 - 1).max(0)
    }

    /// Returns the functions of the basis, `[coefficients, steps]`; `None` for a learned basis. Time is from 0 to below 1.
    fn functions(self) -> Result<Option<Tensor>> {
        let double = (Kind::Double, Device::Cpu);
        let time = Tensor::f_arange(self.steps, double)?.f_div_scalar(self.steps)?;
        let powers = |from: i64, to: i64| Tensor::f_arange_start(from, to + 1, double)?.f_unsqueeze(1);
        match self.stack {
            StackType::Generic => Ok(None),
            StackType::Trend => Ok(Some(time.f_pow(&powers(0, self.degree)?)?)),
            StackType::Seasonality => {
                let angle = time.f_mul_scalar(std::f64::consts::TAU)?;
                let cos = angle.f_mul(&powers(0, self.harmonics())?)?.f_cos()?;
                let sin = angle.f_mul(&powers(1, self.harmonics())?)?.f_sin()?;
                Ok(Some(Tensor::f_cat(&[cos, sin], 0)?))
            }
        }
    }
}

/// A dense layer that computes the coefficients of a basis, and the sum over its functions. `x: [rows, units] -> [rows, sums * steps]`.
/// The layer of a learned basis has the values themselves as outputs.
#[derive(Debug)]
struct Expansion {
    name: String,
    coefficients: Linear,
    /// `[coefficients, steps]`
    functions: Option<Tensor>,
    sums: i64,
}

impl Expansion {
    fn new(parameters: &mut Parameters, name: String, units: i64, basis: Basis) -> Result<Self> {
        let coefficients = Linear::new(parameters, &name, units, basis.sums * basis.coefficients())?;
        let Placement { kind, device, .. } = parameters.placement();
        let functions =
            basis.functions()?.map(|values| values.f_to_kind(kind)?.f_to_device(device)).transpose()?;
        Ok(Self { name, coefficients, functions, sums: basis.sums })
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let y = self.coefficients.forward(x, context)?;
        let y = match &self.functions {
            Some(functions) => {
                y.f_view([y.size()[0], self.sums, -1])?.f_matmul(functions)?.f_flatten(1, 2)?
            }
            None => y,
        };
        Ok(context.layer(&self.name, y))
    }
}
