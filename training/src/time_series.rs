//! Time series: data, models and forecasts.

mod backtest;
mod baselines;
mod columns;
mod covariates;
mod csv;
mod data_module;
mod ensemble;
mod fill;
mod folds;
mod forecast;
mod forecaster;
mod future;
mod intervals;
mod level;
pub mod models;
mod panel;
mod quantiles;
mod scaler;
mod series;
mod statistical;
mod timestamps;
mod window_config;
mod window_dataset;
mod windows;

pub use backtest::{Backtest, Fold, Origins, mean};
pub use baselines::{Baseline, BaselineConfig, Past};
pub use columns::Columns;
pub use covariates::{CovariateValues, Covariates, Roles};
pub use csv::{
    CsvConfig, Expected, RoleConfig, parse as parse_csv, parse_panel, read as read_csv,
    read_for as read_csv_for, read_future, read_panel,
};
pub use data_module::SeriesDataModule;
pub use ensemble::{Combine, EnsembleConfig};
pub use fill::Fill;
pub use folds::FoldConfig;
pub use forecast::{Bands, Counts, Forecast, MaseScales, PathEnds};
pub use forecaster::{BaselineForecaster, Forecaster, NetworkForecaster};
pub use future::Future;
pub use intervals::{Coverage, Intervals};
pub use level::{Level, LevelConfig, check_levels};
pub use models::Target;
pub use panel::{Member, Panel, PanelDataModule, PanelExtras, Statics};
pub use quantiles::{Predicted, Quantiles};
pub use scaler::{Scaler, Scaling, Units, WindowScaler};
pub use series::{Series, SyntheticConfig, synthetic};
use timestamps::split_off;
pub(crate) use timestamps::{Arranged, RawTimes, TimeProblem, TimeReader, arrange};
pub use timestamps::{Calendar, Duplicates, Fourier, Frequency, TimeConfig, Timestamps};
pub use window_config::{ShuffleBuffer, SplitPoint, WindowConfig};
pub use window_dataset::{Layout, WindowDataset};
pub use windows::{windowed_dataset, windows};
