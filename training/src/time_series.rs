//! Time series: data, models and forecasts.

mod baselines;
mod columns;
mod csv;
mod data_module;
mod fill;
mod forecast;
mod forecaster;
pub mod models;
mod scaler;
mod series;
mod timestamps;
mod window_config;
mod window_dataset;
mod windows;

pub use baselines::{Baseline, BaselineConfig, Past};
pub use columns::Columns;
pub use csv::{CsvConfig, Expected, parse as parse_csv, read as read_csv, read_for as read_csv_for};
pub use data_module::SeriesDataModule;
pub use fill::Fill;
pub use forecast::{Counts, Forecast, MaseScales};
pub use forecaster::{BaselineForecaster, Forecaster, NetworkForecaster};
pub use models::Target;
pub use scaler::{Scaler, Scaling, WindowScaler};
pub use series::{Series, SyntheticConfig, synthetic};
pub(crate) use timestamps::{Arranged, TimeProblem, TimeReader, arrange};
pub use timestamps::{Duplicates, Frequency, TimeConfig, Timestamps};
pub use window_config::{ShuffleBuffer, SplitPoint, WindowConfig};
pub use window_dataset::{Layout, WindowDataset};
pub use windows::{windowed_dataset, windows};
