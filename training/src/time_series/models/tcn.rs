//! TCN: a temporal convolutional network.

use crate::flags::{Auto, default_flags};
use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, Linear, Parameters, Placement, WeightNormConv};
use text_recognizer::{Error, Result};

use super::{ForecastConfig, Window, check_dropout, check_sizes};

/// The sizes of a [`Tcn`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TcnConfig {
    /// Use this many filters per convolution.
    #[arg(long = "filters", default_value_t = 25)]
    pub filters: i64,
    /// Use kernels of this many time steps.
    #[arg(long = "kernel_size", default_value_t = 7)]
    pub kernel_size: i64,
    /// Use this many blocks of two convolutions; auto: as few as see the whole window.
    #[arg(long = "layers", default_value_t = Auto::AUTO)]
    pub layers: Auto<i64>,
    /// Drop an output of a convolution in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.05)]
    pub dropout: f64,
}

impl Default for TcnConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for TcnConfig {}

impl TcnConfig {
    /// Returns the number of blocks for windows of `size` time steps.
    pub(super) fn layers(&self, size: i64) -> Result<i64> {
        // The time steps of a block are 1, 2, 4, ... apart. In a block after these, they would be a window apart or more.
        let most = (1..62).find(|layers| 1 << layers >= size).unwrap_or(62);
        match self.layers.number() {
            None => {
                // Two convolutions per block.
                let reach = |layers: i64| {
                    (self.kernel_size - 1).saturating_mul(2 * ((1 << layers) - 1)).saturating_add(1)
                };
                Ok((1..most).find(|layers| reach(*layers) >= size).unwrap_or(most))
            }
            Some(layers) if (1..=most).contains(&layers) => Ok(layers),
            Some(layers) => {
                let expected = format!("1 to {most} for a window_size of {size}");
                Err(Error::invalid("layers", layers, expected))
            }
        }
    }
}

/// TCN of Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", 2018:
/// residual blocks of two causal convolutions with weight normalization, ReLU and dropout, whose dilation doubles from block to
/// block, and a linear layer over the last time step. `x: [batch, window_size, features] -> [batch, horizon, targets]`.
///
/// Only the time steps that the last one depends on are computed: the output of a block has half of the time steps of its input,
/// so that convolutions over neighboring ones have the dilation of the paper.
///
/// Filters, kernel size and dropout are those of the paper for sequential MNIST, which has 8 blocks for 784 time steps.
#[derive(Debug)]
pub struct Tcn {
    parameters: Parameters,
    window: Window,
    blocks: Vec<ConvBlock>,
    linear: Linear,
}

impl Tcn {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are, for each block,
    /// `blocks.BLOCK.conv1` and `blocks.BLOCK.conv2` (see [`WeightNormConv::new`]); `blocks.0.downsample.weight` and `.bias` if the
    /// numbers of features and filters differ; `linear.weight` and `linear.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows, or if a value of `config` is impossible.
    pub fn new(config: &TcnConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        check_sizes([("filters", config.filters), ("kernel_size", config.kernel_size)])?;
        check_dropout(config.dropout)?;
        let window = Window::new(data)?;
        let mut parameters = Parameters::new(placement);
        let mut channels = window.features;
        let mut blocks = Vec::new();
        for at in 0..config.layers(window.size)? {
            let sizes = [config.kernel_size, channels, config.filters];
            blocks.push(ConvBlock::new(&mut parameters, format!("blocks.{at}"), sizes, config.dropout)?);
            channels = config.filters;
        }
        let linear = Linear::new(&mut parameters, "linear", channels, window.horizon * window.columns())?;
        Ok(Self { parameters, window, blocks, linear })
    }
}

impl Model for Tcn {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("tcn", x)?;
        let mut y = x.f_transpose(1, 2)?; // [batch, features, window_size]
        for (at, block) in self.blocks.iter().enumerate() {
            let is_last = at + 1 == self.blocks.len();
            y = block.forward(&y, if is_last { y.size()[2] } else { 2 }, context)?;
        }
        let y = self.linear.forward(&y.f_select(2, 0)?, context)?; // [batch, horizon * targets]
        let y = y.f_view([-1, self.window.horizon, self.window.columns()])?;
        Ok(context.layer("linear", y))
    }
}

/// A residual block of two convolutions. `x: [batch, channels, steps] -> [batch, filters, outputs]`, where the outputs are those of
/// the last time step and of each `stride`-th one before it.
#[derive(Debug)]
struct ConvBlock {
    name: String,
    convs: [WeightNormConv; 2],
    /// A linear map of the input to the number of filters, if it has another number of channels.
    downsample: Option<Linear>,
    dropout: f64,
}

impl ConvBlock {
    fn new(
        parameters: &mut Parameters,
        name: String,
        [kernel_size, channels, filters]: [i64; 3],
        dropout: f64,
    ) -> Result<Self> {
        let mut conv = |at: i64, channels| {
            WeightNormConv::new(parameters, &format!("{name}.conv{at}"), [kernel_size, channels, filters])
        };
        let convs = [conv(1, channels)?, conv(2, filters)?];
        let downsample = if channels == filters {
            None
        } else {
            Some(Linear::new(parameters, &format!("{name}.downsample"), channels, filters)?)
        };
        Ok(Self { name, convs, downsample, dropout })
    }

    fn forward(&self, x: &Tensor, stride: i64, context: &mut ForwardContext) -> Result<Tensor> {
        let mut y = x.shallow_clone();
        for (conv, stride) in self.convs.iter().zip([1, stride]) {
            y = context.dropout(conv.forward(&y, stride)?.f_relu()?, self.dropout)?;
        }
        let skip = x.f_slice(2, (x.size()[2] - 1) % stride, None, stride)?;
        let skip = match &self.downsample {
            Some(linear) => linear.forward(&skip.f_transpose(1, 2)?, context)?.f_transpose(1, 2)?,
            None => skip,
        };
        Ok(context.layer(&self.name, y.f_add(&skip)?.f_relu()?))
    }
}
