//! Tables, summaries and plots: numbers in, text and files out.

pub mod history;
pub mod plots;
mod summary;
pub mod tables;

pub use summary::ModelSummary;
