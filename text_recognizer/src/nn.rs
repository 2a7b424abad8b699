//! Building blocks of networks: parameters, initial weights, layers, and the context of a forward pass.

mod conv;
mod custom_op;
mod dropout;
mod forward;
pub mod init;
mod linear;
mod parameters;
mod recurrent;

pub use conv::CausalConv;
pub use custom_op::BackwardFn;
pub use dropout::dropout_mask;
pub use forward::{ForwardContext, Observer, is_finite};
pub use linear::Linear;
pub use parameters::{Parameters, Placement};
pub use recurrent::{Cell, Output, Recurrent};
