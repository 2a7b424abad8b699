//! Time series: the data, the networks, and forecasts.

mod baselines;
mod csv;
mod data_module;
mod forecast;
mod forecaster;
pub mod models;
mod scaler;
mod series;
mod time;
mod windows;

pub use baselines::{Baseline, BaselineConfig};
pub use csv::{CsvConfig, parse as parse_csv, read as read_csv};
pub use data_module::{Moment, SeriesDataModule, ShuffleBuffer, WindowConfig};
pub use forecast::{Forecast, future, mase};
pub use forecaster::LitForecaster;
pub use scaler::{Scaler, Scaling};
pub use series::{Series, SyntheticConfig, synthetic};
pub use time::Time;
pub use windows::{Layout, WindowDataset, windowed_dataset, windows};
