//! Building blocks of networks: parameters, initial weights, layers, and the context of a forward pass.

mod attention;
mod conv;
mod custom_op;
mod dropout;
mod forward;
pub mod init;
mod layer_norm;
mod linear;
mod parameters;
mod recurrent;
mod weight_norm_conv;

pub use attention::SelfAttention;
pub use conv::CausalConv;
pub use custom_op::BackwardFn;
pub use dropout::dropout_mask;
pub use forward::{ForwardContext, Observer, is_finite};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use parameters::{Parameters, Placement};
pub use recurrent::{Cell, Output, Recurrent};
pub use weight_norm_conv::WeightNormConv;
