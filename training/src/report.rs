//! Tables, summaries and plots: numbers in, text and files out.

pub mod history;
mod long_table;
pub mod plots;
mod summary;
pub mod tables;

pub use long_table::{Cells, LongTable};
pub use summary::ModelSummary;
