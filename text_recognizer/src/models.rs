//! Whole networks, from input to prediction.

use std::fmt::Debug;

use tch::Tensor;

use crate::error::Result;
use crate::nn::{ForwardContext, Parameters};

mod mlp;

pub use mlp::{Mlp, MlpConfig};

/// A network.
pub trait Model: Debug {
    /// Returns the parameters, in the order of construction.
    fn parameters(&self) -> &Parameters;

    /// Returns the prediction for a batch of inputs.
    ///
    /// # Errors
    /// Fails if the input's shape is not the one the network was built for.
    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor>;
}
