//! Walks through the TensorFlow time-series course with library calls, from windows over `range(10)` to a forecast and its plot:
//! `cargo run -p training --example course [FOLDER]`. The plot and the forecast are written to FOLDER, by default a temporary one.
//!
//! It is the program to read before you write your own. `run_experiment --model dnn` does the same with one command.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use text_recognizer::data::DataSpec;
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel, LossName, MetricName};
use text_recognizer::nn::{ForwardContext, Placement};
use text_recognizer::optim::{Optimizer, OptimizerConfig, OptimizerName, SgdForm};
use text_recognizer::tch::{self, Kind, Tensor};
use training::report::plots::{self, ForecastColumn, ForecastPath, PlotLabels};
use training::time_series::models::{Dnn, DnnConfig};
use training::time_series::{
    Baseline, BaselineConfig, Forecast, NetworkForecaster, Scaler, Scaling, SyntheticConfig, synthetic,
    windowed_dataset, windows,
};

const SEED: u64 = 42;
/// The time step at which training ends and validation begins.
const SPLIT: usize = 1000;
const WINDOW_SIZE: usize = 20;
const BATCH_SIZE: usize = 32;
const SHUFFLE_BUFFER: usize = 1000;

/// The mean absolute errors (MAE) of all forecasts of the validation split, by name.
pub type Figures = Vec<(&'static str, f64)>;

/// Reads the folder from the command line.
pub fn main() -> Result<()> {
    let folder =
        std::env::args_os().nth(1).map_or_else(|| std::env::temp_dir().join("course"), PathBuf::from);
    course(&folder, &mut io::stdout()).map(|_| ())
}

/// Runs all steps, prints to `out` and writes to `folder`.
pub fn course(folder: &Path, out: &mut impl Write) -> Result<Figures> {
    tch::set_num_threads(1); // more threads would only wait for each other: the tensors are small

    print_windows(out)?;
    print_windowed_dataset(out)?;

    // The synthetic series: trend, season and noise, with the numbers of the course. `values` is [time, 1].
    let series = synthetic(&SyntheticConfig::default())?;
    let values = series.column(0)?;
    let first = numbers(&series.values.f_narrow(0, 0, 3)?.f_to_kind(Kind::Float)?)?;
    writeln!(out, "\nThe series has {} values and begins with {first}", series.len())?;

    // The validation split begins where the training split ends. Nothing of it may be used to train.
    let training = series.values.f_narrow(0, 0, SPLIT as i64)?.f_to_kind(Kind::Float)?;
    let validation = SPLIT..series.len();
    writeln!(out, "{SPLIT} values to train, {} to validate\n", validation.len())?;

    // A model is useful only if it is better than the forecasts that need no training. Each row is forecast from the rows before
    // it, one step ahead. The season is that of the series, 365 steps.
    let mut figures: Figures = Vec::new();
    let default = || BaselineConfig::default().of(&series);
    for (name, baseline, config) in [
        ("naive", Baseline::Naive, default()),
        ("moving average of 30", Baseline::MovingAverage, BaselineConfig { average: 30, ..default() }),
        ("differencing", Baseline::Differencing, BaselineConfig { past_average: 1, ..default() }),
        ("differencing, smooth past", Baseline::Differencing, default()),
    ] {
        let past = baseline.from_past(&config, &values, validation.start)?;
        let forecast = past.forecast(validation.clone(), 1, 1)?;
        figures.push((name, mean_absolute_error(&forecast[0], &values[validation.clone()])));
    }

    // A network of dense layers on windows of 20 values.
    let loader = windowed_dataset(&training, WINDOW_SIZE, BATCH_SIZE, SHUFFLE_BUFFER, SEED)?;
    let data = DataSpec {
        input_dims: vec![WINDOW_SIZE as i64, 1],
        output_dims: vec![1, 1], // one step ahead of one column
        mapping: series.names.clone(),
        image: None,
    };
    let model = Dnn::new(&DnnConfig::default(), &data, Placement::cpu(SEED))?;

    // Loss and optimizer of the course: the mean squared error, and SGD as Keras computes it.
    let optimizer = OptimizerConfig {
        optimizer: OptimizerName::Sgd,
        sgd_form: SgdForm::Keras,
        lr: 1e-6,
        momentum: 0.9,
        ..OptimizerConfig::default()
    };
    let config = LitConfig { loss: LossName::Mse, optimizer, ..LitConfig::default() };
    let lit = Rc::new(BaseLitModel::new(Box::new(model), config)?);
    train(&*lit, &loader, 100)?;

    // Forecasts each row of the validation split from the 20 rows before it.
    let forecaster = NetworkForecaster {
        covariates: None,
        statics: None,
        lit,
        data,
        scaler: Scaler::fit(Scaling::None, &training)?, // the course does not scale its series
        quantiles: None,
        stride: 1,
        batch_size: BATCH_SIZE,
    };
    let forecast = Forecast::new(&forecaster, &series, validation.clone())?;
    figures.push(("dnn", forecast.metric(MetricName::Mae)?.context("cannot compare: no forecast was made")?));

    writeln!(out, "Mean absolute error of one-step forecasts of the validation split:")?;
    for (name, error) in &figures {
        writeln!(out, "  {name:<26}{error:.3}")?;
    }

    // The forecast as a table and as a plot over the actual values.
    fs::create_dir_all(folder)?;
    forecast.write_csv(&folder.join("forecast.csv"), None)?;
    let labels = PlotLabels { title: "one-step forecast by dnn", x: "time", x_is_date: false, y: "value" };
    let time = &series.timestamps.numbers()[validation.clone()];
    let made = Vec::<f64>::try_from(forecast.steps[0].f_view(-1)?)?;
    let path = ForecastPath { points: time.iter().copied().zip(made).collect(), bands: Vec::new() };
    let column = ForecastColumn {
        name: series.names[0].clone(),
        actual: values[validation].to_vec(),
        paths: vec![path],
    };
    plots::forecast(&folder.join("forecast"), &labels, time, &[column])?;
    writeln!(out, "\nforecast.csv, forecast.png and forecast.svg are in {}", folder.display())?;
    Ok(figures)
}

/// Cuts windows out of the numbers 0 to 9.
fn print_windows(out: &mut impl Write) -> Result<()> {
    let ten = Tensor::f_arange(10, tch::kind::FLOAT_CPU)?;
    writeln!(out, "Windows of 5 values over range(10), one step apart. The last ones are shorter:")?;
    for window in windows(&ten, 5, 1, 1, false)? {
        writeln!(out, "  {}", numbers(&window)?)?;
    }
    writeln!(out, "\nThe same without the incomplete windows, each split into 4 values and the label:")?;
    for window in windows(&ten, 5, 1, 1, true)? {
        writeln!(
            out,
            "  {} | {}",
            numbers(&window.f_narrow(0, 0, 4)?)?,
            numbers(&window.f_narrow(0, 4, 1)?)?
        )?;
    }
    Ok(())
}

/// Makes shuffled batches of such windows: all that a training loop needs.
fn print_windowed_dataset(out: &mut impl Write) -> Result<()> {
    let ten = Tensor::f_arange(10, tch::kind::FLOAT_CPU)?;
    writeln!(out, "\nwindowed_dataset shuffles them and makes batches of 2:")?;
    for batch in windowed_dataset(&ten, 4, 2, 10, SEED)?.epoch(0, 0) {
        let batch = batch?; // x: [batch, window_size, features], y: [batch, horizon, features]
        for row in 0..batch.len() as i64 {
            let (x, y) = (batch.x.f_select(0, row)?, batch.y.f_select(0, row)?);
            writeln!(
                out,
                "  {} {} | {}",
                if row == 0 { "x, y =" } else { "      " },
                numbers(&x)?,
                numbers(&y)?
            )?;
        }
    }
    Ok(())
}

/// Trains for `epochs` epochs, at the learning rate of the configuration.
fn train(lit: &dyn LitModel, loader: &text_recognizer::data::DataLoader, epochs: u64) -> Result<()> {
    let config = &lit.config().optimizer;
    let mut optimizer = Optimizer::new(config, lit.parameters())?;
    for epoch in 0..epochs {
        for batch in loader.epoch(epoch, 0) {
            let mut context = ForwardContext::train(SEED, optimizer.steps());
            let output = lit.step(&batch?, &mut context)?;
            let gradients = context.gradients(&output.loss, lit.parameters().tensors())?;
            optimizer.step(&gradients, config.lr)?;
        }
    }
    Ok(())
}

fn mean_absolute_error(forecast: &[f64], actual: &[f64]) -> f64 {
    forecast.iter().zip(actual).map(|(f, a)| (f - a).abs()).sum::<f64>() / actual.len() as f64
}

/// Writes the values of a tensor as the course prints them.
fn numbers(tensor: &Tensor) -> Result<String> {
    let values = Vec::<f32>::try_from(tensor.f_reshape([-1])?)?;
    Ok(values.iter().map(f32::to_string).collect::<Vec<_>>().join(" "))
}
