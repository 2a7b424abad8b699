//! What a run on a series does with its model besides training it: forecasts, beside those of the baselines.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};
use tch::{Device, Tensor};
use text_recognizer::data::DataConfig;
use text_recognizer::lit_models::{LitModel, Metric};
use text_recognizer::models::Placement;

use crate::cli::{Run, RunConfig};
use crate::plots::{self, ForecastColumn, PlotLabels};
use crate::registry;
use crate::say;
use crate::time_series::{
    Baseline, CsvConfig, Forecast, Scaler, SeriesDataModule, Time, future, mase, read_csv,
};
use crate::trainer::callbacks::number;
use crate::trainer::checkpoint::{self, write_atomic};
use crate::trainer::{Loaders, RunFolder};

/// Errors of forecasts of the validation part.
pub struct Comparison {
    /// Steps ahead.
    horizon: usize,
    /// Rows of a season, where that is known.
    season: Option<usize>,
    /// The model's mean absolute scaled error.
    mase: f64,
    /// Mean absolute errors: the model's first, then each baseline's that has enough of a past.
    maes: Vec<(String, f64)>,
}

/// Forecasts the validation part.
///
/// # Errors
/// When there is none.
pub fn validation(
    lit: &dyn LitModel,
    loaders: &Loaders,
    module: &SeriesDataModule,
) -> Result<Option<Forecast>> {
    loaders.val.as_ref().map(|val| Forecast::of_validation(lit, val, module)).transpose()
}

/// Keeps a forecast, as CSV and drawn over what came, and the series that it is of. Of several steps ahead the first is drawn.
///
/// # Errors
/// When a file cannot be written.
pub fn keep(folder: &RunFolder, forecast: &Forecast, module: &SeriesDataModule) -> Result<()> {
    forecast.write_csv(&folder.path().join("forecast.csv"))?;
    let series = module.series();
    let (x, x_is_date) = (series.moments.numbers(), matches!(series.moments, Time::Dates { .. }));
    let labels = PlotLabels { title: "series", x: "time", x_is_date, y: "value" };
    let names = || series.names.iter().cloned().zip(0..);
    let columns = names().map(|(name, column)| Ok((name, series.column(column)?)));
    plots::series(&folder.path().join("series"), &labels, &x, &columns.collect::<Result<Vec<_>>>()?)?;

    let column = |tensor: &Tensor, at: usize| {
        Ok::<_, anyhow::Error>(Vec::<f64>::try_from(tensor.f_select(1, at as i64)?)?)
    };
    let columns = names().map(|(name, at)| {
        let (actual, forecast) = (column(&forecast.actual, at)?, column(&forecast.steps[0], at)?);
        Ok(ForecastColumn { name, actual, forecast })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let (from, to) = module.validation();
    let labels = PlotLabels { title: "one-step forecast of the validation part", ..labels };
    plots::forecast(&folder.path().join("forecast"), &labels, &x[from..to], &columns)
}

/// Sets a forecast beside those of the baselines.
///
/// # Errors
/// When libtorch refuses.
pub fn compare(name: &str, forecast: &Forecast, module: &SeriesDataModule) -> Result<Comparison> {
    let mae = forecast.metric(Metric::Mae)?;
    let mut maes = vec![(name.to_owned(), mae)];
    for baseline in Baseline::ALL.into_iter().filter(|baseline| baseline.name() != name) {
        // A short series has too little of a past for some of them, and not every series a known season.
        if let Ok(forecast) = Forecast::by_baseline(baseline, module) {
            maes.push((baseline.name().to_owned(), forecast.metric(Metric::Mae)?));
        }
    }
    let (horizon, season) = (forecast.steps.len(), module.baselines().season);
    Ok(Comparison { horizon, season, mase: mase(mae, module)?, maes })
}

impl Comparison {
    /// A row each, best first.
    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.maes.iter().collect();
        rows.sort_by(|a, b| a.1.total_cmp(&b.1));
        let ahead =
            if self.horizon == 1 { "one step".into() } else { format!("1 to {} steps", self.horizon) };
        let season = self.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
        let mut text = format!("MAE of forecasts of the validation part, {ahead} ahead{season}\n");
        for (name, mae) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name:<16}{:>10}", number(*mae));
        }
        let _ = writeln!(text, "  MASE of {} {}", self.maes[0].0, number(self.mase));
        text
    }

    /// For a shell.
    pub fn json(&self) -> Value {
        let maes: Map<String, Value> =
            self.maes.iter().map(|(name, mae)| (name.clone(), (*mae).into())).collect();
        json!({"mase": self.mase, "season": self.season, "mae": maes})
    }
}

/// A run of a rule: no training, the same results.
///
/// # Errors
/// When the series is too short for it, or a file cannot be written.
pub fn run_baseline(run: &Run, baseline: Baseline, module: &SeriesDataModule) -> Result<ExitCode> {
    let forecast = Forecast::by_baseline(baseline, module)?;
    let metrics = [Metric::Mae, Metric::Mse, Metric::Rmse, Metric::Mape, Metric::Smape];
    let metrics =
        metrics.iter().map(|metric| Ok((format!("val_{}", metric.name()), forecast.metric(*metric)?)));
    let metrics = metrics.collect::<Result<Vec<_>>>()?;
    let comparison = compare(baseline.name(), &forecast, module)?;
    let name = format!("{}-{}", run.config.model, run.config.data);
    let folder = RunFolder::create(&run.config.trainer.log_dir, &name)?;
    folder.keep();
    folder.write("config.json", &(serde_json::to_string_pretty(&run.config)? + "\n"))?;
    keep(&folder, &forecast, module)?;
    let values: Map<String, Value> =
        metrics.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    let json = json!({
        "model": run.config.model,
        "data": run.config.data,
        "metrics": values,
        "forecast": comparison.json(),
        "folder": folder.path(),
    });
    folder.write("results.json", &(serde_json::to_string_pretty(&json)? + "\n"))?;
    if run.args.json {
        say::result(json)?;
    } else {
        for (name, value) in metrics {
            say::result(format_args!("{name:<12}{:>12}", number(value)))?;
        }
        say::result(comparison.table().trim_end())?;
        say::result(folder.path().display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `run_experiment forecast`: the future of a series, from a checkpoint alone.
#[derive(Debug, Clone, Args)]
pub struct ForecastArgs {
    /// A checkpoint of a model of series, as in logs/lstm-series/version_0/checkpoints/best.safetensors.
    #[arg(long = "checkpoint")]
    checkpoint: PathBuf,
    /// Steps to forecast [default: the model's horizon].
    #[arg(long = "steps")]
    steps: Option<usize>,
    /// File to write [default: standard output].
    #[arg(long = "output")]
    output: Option<PathBuf>,
    #[command(flatten)]
    series: CsvConfig,
}

/// Forecasts what follows the last row of a file.
///
/// # Errors
/// When the checkpoint is not of a model of series, or the file has not the columns and rows that it needs.
pub fn run_forecast(args: &ForecastArgs) -> Result<()> {
    let contents = checkpoint::read(&args.checkpoint)?;
    let about = &contents.metadata["config"];
    let of_series = || format!("{} is not a checkpoint of a model of series", args.checkpoint.display());
    let scaler: Scaler = serde_json::from_value(about["scaler"].clone()).with_context(of_series)?;
    let data: DataConfig = serde_json::from_value(about["data"].clone()).with_context(of_series)?;
    let config: RunConfig = serde_json::from_value(about["run"].clone()).with_context(of_series)?;
    let placement = Placement { device: Device::Cpu, kind: config.trainer.kind(), seed: 0 };
    let model = registry::model(&config.model)?;
    let lit = model.build(&config.model_config, &config.lit, &data, Some(&scaler), placement)?;
    lit.parameters().load(&contents.tensors)?;
    let series = read_csv(&args.series)?;
    let horizon = usize::try_from(data.output_dims[0])?;
    let steps = args.steps.unwrap_or(horizon);
    ensure!(steps > 0, "--steps is 0: expected at least 1");
    let stride = config.data_config["windows"]["stride"].as_u64().with_context(of_series)? as usize;
    let forecast: Vec<Vec<f64>> = Vec::try_from(future(&*lit, &data, &scaler, stride, &series, steps)?)?;

    // The next moments where those of the series are regular, else the steps ahead.
    let times = steps.checked_mul(stride).and_then(|rows| series.moments.after(rows));
    let (column, labels): (_, Vec<String>) = match times {
        Some(times) => ("time", times.labels().into_iter().skip(stride - 1).step_by(stride).collect()),
        None => ("step", (1..=steps).map(|step| step.to_string()).collect()),
    };

    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(std::iter::once(column).chain(series.names.iter().map(String::as_str)))?;
    for (label, row) in labels.into_iter().zip(&forecast) {
        let cells = row.iter().map(|value| (*value as f32).to_string());
        writer.write_record(std::iter::once(label).chain(cells))?;
    }
    let bytes = writer.into_inner().context("writing the forecast")?;
    match &args.output {
        Some(path) => write_atomic(path, &bytes),
        None => io::Write::write_all(&mut io::stdout(), &bytes).context("writing to standard output"),
    }
}
