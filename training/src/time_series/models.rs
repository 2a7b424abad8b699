//! Networks that forecast time series. Linear, dense and recurrent models have the layers and the initial weights of Keras; the
//! models of papers have those of PyTorch.
//!
//! Every model maps windows, `x: [batch, window_size, features]`, to the next values, `[batch, horizon, targets]`. With
//! `sequence_loss` it predicts the next value at each time step of the window, `[batch, window_size, targets]`.

use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::{Error, Result};

mod blocks;
mod channels;
mod conv_lstm;
mod dlinear;
mod dnn;
mod gru;
mod linear;
mod lstm;
mod nbeats;
mod nhits;
mod nlinear;
mod patchtst;
mod rnn;
mod stack;
mod tcn;
mod tide;

pub use conv_lstm::{ConvLstm, ConvLstmConfig};
pub use dlinear::{Dlinear, DlinearConfig};
pub use dnn::{Dnn, DnnConfig};
pub use gru::Gru;
pub use linear::{Linear, LinearConfig};
pub use lstm::Lstm;
pub use nbeats::{Nbeats, NbeatsConfig, StackType};
pub use nhits::{Nhits, NhitsConfig};
pub use nlinear::{Nlinear, NlinearConfig};
pub use patchtst::{PatchTst, PatchTstConfig};
pub use rnn::{Rnn, RnnConfig};
pub use stack::GatedConfig;
pub use tcn::{Tcn, TcnConfig};
pub use tide::{Tide, TideConfig};

/// The values that a forecasting model is trained to predict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Target {
    /// The values after the window.
    #[default]
    AfterWindow,
    /// The next value at each time step of the window.
    EachStep,
}

/// The configuration of a forecasting model that determines its training targets.
pub trait ForecastConfig {
    /// Returns the values that the model is trained to predict.
    fn target(&self) -> Target {
        Target::AfterWindow
    }
}

/// Returns the target of a model with or without `--sequence_loss`.
fn target(sequence_loss: bool) -> Target {
    if sequence_loss { Target::EachStep } else { Target::AfterWindow }
}

/// The shapes of a window, `[size, features]`, and of its target, `[horizon, targets]`, with the number of quantiles of the forecast of
/// each value: 1 for a forecast without quantiles. The last dimension of outputs has `quantiles * targets` columns, all targets of the
/// first quantile first.
#[derive(Debug, Clone, Copy)]
struct Window {
    size: i64,
    features: i64,
    horizon: i64,
    targets: i64,
    quantiles: i64,
}

impl Window {
    fn new(data: &DataSpec) -> Result<Self> {
        let two = |name: &str, dims: &[i64], expected: &str| match *dims {
            [a, b] if a > 0 && b > 0 => Ok((a, b)),
            _ => Err(Error::shape(name, expected, dims)),
        };
        let _ = (data.inputs()?, data.outputs()?); // Their products fit in an i64.
        let (size, features) =
            two("input_dims of a time series", &data.input_dims, "[window_size, features]")?;
        let (dims, quantiles) = match data.output_dims[..] {
            [ref dims @ .., quantiles] if dims.len() == 2 => (dims, quantiles),
            ref dims => (dims, 1),
        };
        let (horizon, targets) =
            two("output_dims of a time series", dims, "[horizon, targets] or [horizon, targets, quantiles]")?;
        Ok(Self { size, features, horizon, targets, quantiles })
    }

    /// Fails if `x` is not `[batch, size, features]`.
    fn check(&self, model: &str, x: &Tensor) -> Result<()> {
        match x.size()[..] {
            [_, size, features] if size == self.size && features == self.features => Ok(()),
            _ => {
                let expected = format!("[batch, {}, {}]", self.size, self.features);
                Err(Error::shape(model, expected, &x.size()))
            }
        }
    }
}

impl Window {
    /// Returns the number of values of a forecast per time step.
    fn columns(&self) -> i64 {
        self.quantiles * self.targets
    }

    /// Returns `y: [batch, targets, quantiles * horizon]`, in any shape, as `[batch, horizon, quantiles * targets]`.
    fn by_step(&self, y: &Tensor) -> Result<Tensor> {
        let y = y.f_reshape([-1, self.targets, self.quantiles, self.horizon])?.f_permute([0, 3, 2, 1])?;
        Ok(y.f_contiguous()?.f_flatten(2, 3)?)
    }

    /// Returns the number of covariates: the features after the targets.
    fn covariates(&self) -> Result<i64> {
        if self.features < self.targets {
            let expected = format!("at least {}, the number of targets", self.targets);
            return Err(Error::invalid("the number of columns of a window", self.features, expected));
        }
        Ok(self.features - self.targets)
    }

    /// Returns the targets, `[batch, targets, window_size]`, and the covariates, `[batch, window_size * covariates]`, if there are
    /// any, of `x: [batch, window_size, features]`.
    fn split(&self, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let targets = x.f_narrow(2, 0, self.targets)?.f_transpose(1, 2)?.f_contiguous()?;
        let covariates = match self.covariates()? {
            0 => None,
            count => Some(x.f_narrow(2, self.targets, count)?.f_flatten(1, 2)?),
        };
        Ok((targets, covariates))
    }
}

/// Fails if a size is below 1.
fn check_sizes<const N: usize>(sizes: [(&str, i64); N]) -> Result<()> {
    match sizes.into_iter().find(|(_, size)| *size < 1) {
        Some((name, size)) => Err(Error::invalid(name, size, "at least 1")),
        None => Ok(()),
    }
}

/// Fails if `layers` is not 1 to 1000. More layers would take too long to build.
fn check_layers(layers: i64) -> Result<()> {
    check_number("layers", layers)
}

/// Fails if the number of layers or blocks `name` is not 1 to 1000.
fn check_number(name: &str, number: i64) -> Result<()> {
    if (1..=1000).contains(&number) { Ok(()) } else { Err(Error::invalid(name, number, "1 to 1000")) }
}

/// Fails if there are no stacks, or not 1 to 1000 blocks in all stacks. `stacks` is the number of values of the flag `name`.
fn check_blocks(name: &str, stacks: usize, blocks: i64) -> Result<()> {
    if stacks == 0 {
        return Err(Error::invalid(format!("the number of values of {name}"), 0, "at least 1"));
    }
    let most = 1000 / i64::try_from(stacks).unwrap_or(i64::MAX);
    if (1..=most).contains(&blocks) {
        return Ok(());
    }
    let expected = format!("1 to 1000 blocks in all {stacks} stacks");
    Err(Error::invalid("blocks", blocks, expected))
}

/// Fails if `dropout` is not a probability below 1.
fn check_dropout(dropout: f64) -> Result<()> {
    if (0.0..1.0).contains(&dropout) {
        Ok(())
    } else {
        Err(Error::invalid("dropout", dropout, "a probability from 0 to below 1"))
    }
}

#[cfg(test)]
mod tests;
