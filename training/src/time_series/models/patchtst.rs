//! PatchTST: a transformer over patches of the window.

use crate::flags::{Auto, default_flags};
use clap::Args;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::models::Model;
use text_recognizer::nn::{ForwardContext, LayerNorm, Linear, Parameters, Placement, SelfAttention};
use text_recognizer::{Error, Result};

use super::{ForecastConfig, Window, check_dropout, check_layers, check_sizes};

/// The sizes of a [`PatchTst`].
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PatchTstConfig {
    /// Use patches of this many time steps; auto: 16, at most the window.
    #[arg(long = "patch_len", default_value_t = Auto::AUTO)]
    pub patch_len: Auto<i64>,
    /// Start a patch once per this many time steps; auto: half of a patch.
    #[arg(long = "patch_stride", default_value_t = Auto::AUTO)]
    pub patch_stride: Auto<i64>,
    /// Use this many units per patch, a multiple of the heads.
    #[arg(long = "units", default_value_t = 16)]
    pub units: i64,
    /// Use this many heads of attention per layer.
    #[arg(long = "heads", default_value_t = 4)]
    pub heads: i64,
    /// Use this many units in the dense layer after the attention.
    #[arg(long = "feedforward_units", default_value_t = 128)]
    pub feedforward_units: i64,
    /// Use this many layers of attention, 1 to 1000.
    #[arg(long = "layers", default_value_t = 3)]
    pub layers: i64,
    /// Drop an output of a layer in training with this probability, from 0 to below 1.
    #[arg(long = "dropout", default_value_t = 0.3)]
    pub dropout: f64,
}

impl Default for PatchTstConfig {
    fn default() -> Self {
        default_flags()
    }
}

impl ForecastConfig for PatchTstConfig {}

impl PatchTstConfig {
    /// Returns the length and the stride of the patches of windows of `size` time steps.
    pub(super) fn patches(&self, size: i64) -> Result<(i64, i64)> {
        /// The length of the paper.
        const PAPER: i64 = 16;
        let length = self.patch_len.number().unwrap_or(PAPER.min(size));
        if !(1..=size).contains(&length) {
            return Err(Error::invalid("patch_len", length, format!("1 to {size}, the window_size")));
        }
        let stride = self.patch_stride.number().unwrap_or((length / 2).max(1));
        if !(1..=length).contains(&stride) {
            return Err(Error::invalid("patch_stride", stride, format!("1 to {length}, the patch_len")));
        }
        Ok((length, stride))
    }
}

/// PatchTST of Nie et al., "A Time Series is Worth 64 Words: Long-term Forecasting with Transformers", 2023: splits the window of
/// each target into patches that overlap, embeds them with a learned position, and applies layers of self-attention over them and a
/// linear layer over all. `x: [batch, window_size, targets] -> [batch, horizon, targets]`. All targets go through the same weights.
///
/// The sizes are those of the paper for small data sets (ILI, ETTh1, ETTh2). Different from the paper, layers have layer
/// normalization instead of batch normalization, whose running mean would be a state besides the weights. `--scaling window` is
/// the instance normalization of the paper.
#[derive(Debug)]
pub struct PatchTst {
    parameters: Parameters,
    window: Window,
    patches: Patches,
    embedding: Linear,
    /// `[patches, units]`
    position: Tensor,
    layers: Vec<EncoderLayer>,
    head: Linear,
    dropout: f64,
}

/// The patches of a window.
#[derive(Debug, Clone, Copy)]
struct Patches {
    length: i64,
    stride: i64,
    count: i64,
}

impl PatchTst {
    /// Builds the model for the shapes in `data`, with the initial weights of PyTorch. Its weights are `embedding.weight` and
    /// `.bias`; `position`, `[patches, units]`; for each layer, `layers.LAYER.self_attn` (see [`SelfAttention::new`]),
    /// `.linear1`, `.linear2`, `.norm1` and `.norm2`, as in PyTorch's `nn.TransformerEncoderLayer`; `head.weight` and `.bias`.
    ///
    /// # Errors
    /// Fails if `data` does not have the shapes of windows or has covariates, or if a value of `config` is impossible.
    pub fn new(config: &PatchTstConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        let PatchTstConfig { units, heads, feedforward_units, dropout, .. } = *config;
        check_sizes([("units", units), ("heads", heads), ("feedforward_units", feedforward_units)])?;
        check_layers(config.layers)?;
        check_dropout(dropout)?;
        if units % heads != 0 {
            return Err(Error::invalid("units", units, format!("a multiple of the heads, {heads}")));
        }
        let window = Window::new(data)?;
        if window.covariates()? > 0 {
            let expected = "0 for patchtst, which forecasts each target from its own window; try tide";
            return Err(Error::invalid("the number of covariates", window.covariates()?, expected));
        }
        let (length, stride) = config.patches(window.size)?;
        // The last value is repeated `stride` times, so that no value is left out.
        let patches = Patches { length, stride, count: (window.size - length) / stride + 2 };
        let mut parameters = Parameters::new(placement);
        let embedding = Linear::new(&mut parameters, "embedding", length, units)?;
        let position = parameters.generator().uniform(&[patches.count, units], -0.02, 0.02)?;
        let position = parameters.add("position", position)?;
        let layers = (0..config.layers)
            .map(|at| {
                EncoderLayer::new(
                    &mut parameters,
                    format!("layers.{at}"),
                    [units, heads, feedforward_units],
                    dropout,
                )
            })
            .collect::<Result<_>>()?;
        let outputs = window.quantiles * window.horizon;
        let head = Linear::new(&mut parameters, "head", patches.count.saturating_mul(units), outputs)?;
        Ok(Self { parameters, window, patches, embedding, position, layers, head, dropout })
    }
}

impl Model for PatchTst {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        self.window.check("patchtst", x)?;
        let Patches { length, stride, .. } = self.patches;
        let (targets, _) = self.window.split(x)?; // [batch, targets, window_size]
        let padded = targets.f_pad([0, stride], "replicate", None)?.f_flatten(0, 1)?;
        let patches = padded.f_unfold(1, length, stride)?; // [batch * targets, patches, length]
        let y = self.embedding.forward(&patches, context)?.f_add(&self.position)?;
        let y = context.layer("embedding", y);
        let mut y = context.dropout(y, self.dropout)?; // [batch * targets, patches, units]
        for layer in &self.layers {
            y = layer.forward(y, context)?;
        }
        let y = self.head.forward(&y.f_flatten(1, 2)?, context)?;
        let y = self.window.by_step(&y)?;
        Ok(context.layer("head", y))
    }
}

/// Self-attention and a dense network with GELU, each with dropout, a residual connection and layer normalization after it.
/// `x: [batch, steps, units] -> [batch, steps, units]`.
#[derive(Debug)]
struct EncoderLayer {
    name: String,
    attention: SelfAttention,
    linear1: Linear,
    linear2: Linear,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout: f64,
}

impl EncoderLayer {
    fn new(
        parameters: &mut Parameters,
        name: String,
        [units, heads, feedforward]: [i64; 3],
        dropout: f64,
    ) -> Result<Self> {
        let attention = SelfAttention::new(parameters, &format!("{name}.self_attn"), units, heads)?;
        let linear1 = Linear::new(parameters, &format!("{name}.linear1"), units, feedforward)?;
        let linear2 = Linear::new(parameters, &format!("{name}.linear2"), feedforward, units)?;
        let norm1 = LayerNorm::new(parameters, &format!("{name}.norm1"), units)?;
        let norm2 = LayerNorm::new(parameters, &format!("{name}.norm2"), units)?;
        Ok(Self { name, attention, linear1, linear2, norm1, norm2, dropout })
    }

    fn forward(&self, x: Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let mixed = self.attention.forward(&x, context)?;
        let mixed = context.dropout(mixed, self.dropout)?;
        let x = self.norm1.forward(&x.f_add(&mixed)?)?;
        let hidden = self.linear1.forward(&x, context)?.f_gelu("none")?;
        let hidden = context.dropout(hidden, self.dropout)?;
        let output = self.linear2.forward(&hidden, context)?;
        let output = context.dropout(output, self.dropout)?;
        let y = self.norm2.forward(&x.f_add(&output)?)?;
        Ok(context.layer(&self.name, y))
    }
}
