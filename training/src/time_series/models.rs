//! Networks that forecast time series, with the layers and the initial weights of Keras.
//!
//! Every model maps windows, `x: [batch, window_size, features]`, to the next values, `[batch, horizon, targets]`. With
//! `sequence_loss` it predicts the next value at each time step of the window, `[batch, window_size, targets]`.

use tch::Tensor;
use text_recognizer::data::DataSpec;
use text_recognizer::{Error, Result};

mod conv_lstm;
mod dnn;
mod gru;
mod linear;
mod lstm;
mod rnn;
mod stack;

pub use conv_lstm::{ConvLstm, ConvLstmConfig};
pub use dnn::{Dnn, DnnConfig};
pub use gru::Gru;
pub use linear::{Linear, LinearConfig};
pub use lstm::Lstm;
pub use rnn::{Rnn, RnnConfig};
pub use stack::GatedConfig;

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

/// The shapes of a window, `[size, features]`, and of its target, `[horizon, targets]`.
#[derive(Debug, Clone, Copy)]
struct Window {
    size: i64,
    features: i64,
    horizon: i64,
    targets: i64,
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
        let (horizon, targets) =
            two("output_dims of a time series", &data.output_dims, "[horizon, targets]")?;
        Ok(Self { size, features, horizon, targets })
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

/// Fails if a size is below 1.
fn check_sizes<const N: usize>(sizes: [(&str, i64); N]) -> Result<()> {
    match sizes.into_iter().find(|(_, size)| *size < 1) {
        Some((name, size)) => Err(Error::invalid(name, size, "at least 1")),
        None => Ok(()),
    }
}

/// Fails if `layers` is not 1 to 1000. More layers would take too long to build.
fn check_layers(layers: i64) -> Result<()> {
    if (1..=1000).contains(&layers) { Ok(()) } else { Err(Error::invalid("layers", layers, "1 to 1000")) }
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
