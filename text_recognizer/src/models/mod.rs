//! Networks: parameters, initial weights and the way from input to prediction.

use std::fmt::Debug;

use tch::Tensor;

use crate::error::Result;

mod context;
pub mod init;
mod linear;
mod mlp;
mod parameters;
mod recurrent;

pub use context::{BackwardFn, ForwardContext, Observer, is_finite};
pub use linear::Linear;
pub use mlp::{Mlp, MlpConfig};
pub use parameters::{Parameters, Placement};
pub use recurrent::{Cell, Output, Recurrent};

/// A network.
pub trait Model: Debug {
    /// The parameters, in the order of construction.
    fn parameters(&self) -> &Parameters;

    /// The prediction for a batch of inputs.
    ///
    /// # Errors
    /// When the input's shape is not the one the network was built for.
    fn forward(&self, x: &Tensor, context: &mut ForwardContext) -> Result<Tensor>;
}
