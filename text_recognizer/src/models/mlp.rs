//! The multi-layer perceptron of the Full Stack Deep Learning lab.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::data::DataSpec;
use crate::error::{Error, Result};
use crate::models::Model;
use crate::nn::{ForwardContext, Linear, Parameters, Placement};

/// The sizes of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    /// Use this many units in the first hidden layer.
    #[cfg_attr(feature = "cli", arg(long = "fc1", default_value_t = Self::default().fc1))]
    pub fc1: i64,
    /// Use this many units in the second hidden layer.
    #[cfg_attr(feature = "cli", arg(long = "fc2", default_value_t = Self::default().fc2))]
    pub fc2: i64,
    /// Drop a hidden unit in training with this probability, from 0 to below 1.
    #[cfg_attr(feature = "cli", arg(long = "dropout", default_value_t = Self::default().dropout))]
    pub dropout: f64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self { fc1: 1024, fc2: 128, dropout: 0.5 }
    }
}

/// A network with two hidden layers, ReLU and dropout: `x: [batch, ...input_dims] -> [batch, classes]` (logits).
#[derive(Debug)]
pub struct Mlp {
    parameters: Parameters,
    inputs: i64,
    dropout: f64,
    fc1: Linear,
    fc2: Linear,
    fc3: Linear,
}

impl Mlp {
    /// Builds the network for inputs of any dimensions, which it flattens. Initial weights are those of PyTorch's `nn.Linear`.
    ///
    /// # Errors
    /// Fails if a layer has no units, if `dropout` is not in `0..1`, or if memory does not hold the weights.
    pub fn new(config: &MlpConfig, data: &DataSpec, placement: Placement) -> Result<Self> {
        for (name, units) in [("fc1", config.fc1), ("fc2", config.fc2)] {
            if units < 1 {
                return Err(Error::invalid(name, units, "at least 1 unit"));
            }
        }
        if !(0.0..1.0).contains(&config.dropout) {
            return Err(Error::invalid("dropout", config.dropout, "a probability in 0..1, 1 excluded"));
        }
        let (inputs, outputs) = (data.inputs()?, data.outputs()?);
        let mut parameters = Parameters::new(placement);
        Ok(Self {
            fc1: Linear::new(&mut parameters, "fc1", inputs, config.fc1)?,
            fc2: Linear::new(&mut parameters, "fc2", config.fc1, config.fc2)?,
            fc3: Linear::new(&mut parameters, "fc3", config.fc2, outputs)?,
            parameters,
            inputs,
            dropout: config.dropout,
        })
    }
}

impl Model for Mlp {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor> {
        let x = x.f_flatten(1, -1)?; // [batch, inputs]
        if x.size()[1] != self.inputs {
            return Err(Error::shape("mlp", format!("[batch, {}] after flattening", self.inputs), &x.size()));
        }
        let x = self.fc1.forward(&x, context)?;
        let x = context.layer("fc1", x); // [batch, fc1]
        let x = context.dropout(x.relu(), self.dropout)?;
        let x = self.fc2.forward(&x, context)?;
        let x = context.layer("fc2", x); // [batch, fc2]
        let x = context.dropout(x.relu(), self.dropout)?;
        let x = self.fc3.forward(&x, context)?; // [batch, classes]
        Ok(context.layer("fc3", x))
    }
}
