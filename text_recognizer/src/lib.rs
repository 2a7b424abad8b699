//! Data modules, models, lit-style wrappers and optimisers.

pub mod data;
pub mod error;
pub mod lit_models;
pub mod models;
pub mod optim;
pub mod rng;
pub mod util;

pub use error::{Error, Result};
