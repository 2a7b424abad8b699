//! The forecast errors of a model and of the baselines, in comparison.

use std::fmt::Write;
use std::ops::Range;

use anyhow::Result;
use serde_json::{Map, Value, json};
use tch::Kind;
use text_recognizer::lit_models::MetricName;

use super::Forecasting;
use super::splits::Split;
use crate::format::{count, number};
use crate::time_series::{Baseline, Counts, Forecast, MaseScales, Series};

/// The most columns that the table lists.
const MOST_COLUMNS: usize = 12;

/// The most work of statistical models that the table has: about a second.
const MOST_WORK: usize = 1_000_000;

/// The longest season of exponential smoothing, whose work grows with the square of the season.
const SHORT_SEASON: usize = 24;

/// The line of a table without the statistical models.
pub const LEFT_OUT: &str =
    "  auto_ets, auto_theta and mstl are left out: they take long for so many values; try them as --model\n";

/// The baselines that a model is compared with.
pub struct Comparable {
    /// The baselines, in the order of [`Baseline::ALL`].
    pub baselines: Vec<Baseline>,
    /// Whether the statistical models are left out because of their work.
    pub too_much_work: bool,
}

impl Comparable {
    /// Chooses the baselines for forecasts of `rows`, each of `reach` rows, whose parameters are estimated `times` times.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(
        series: &Series,
        rows: &Range<usize>,
        season: Option<usize>,
        (reach, times): (usize, usize),
    ) -> Result<Self> {
        let too_much_work = work(series, rows, season, reach).saturating_mul(times) > MOST_WORK;
        let intermittent = is_intermittent(series, rows.start)?;
        let fitting = |baseline: &Baseline| match baseline {
            Baseline::Croston | Baseline::Tsb => intermittent && !too_much_work,
            Baseline::AutoEts | Baseline::AutoTheta | Baseline::Mstl => !too_much_work,
            _ => true,
        };
        Ok(Self { baselines: Baseline::ALL.into_iter().filter(fitting).collect(), too_much_work })
    }
}

/// The forecast errors on a split.
pub struct Comparison {
    /// The name of the split.
    split: Split,
    /// The number of steps ahead.
    horizon: usize,
    /// Rows per season; `None` if unknown.
    season: Option<usize>,
    /// The mean absolute errors: first of the model, then of the baselines that have enough rows before the split.
    maes: Vec<(String, f64)>,
    /// The model's errors per column.
    columns: Vec<Column>,
    /// The season of the scales of the MASE.
    scale_season: usize,
    /// The model's MAPE; `None` if all actual values are 0.
    mape: Option<f64>,
    counts: Counts,
    /// Whether the statistical models are left out because of their work.
    too_much_work: bool,
}

/// The errors of a column.
struct Column {
    name: String,
    mae: f64,
    /// NaN if the training split has no changes to scale the error with.
    mase: f64,
}

impl Comparison {
    /// Compares the forecast of the model `name` with those of the baselines, over the same rows, which start at `start`. `split` is
    /// their split.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn new(
        name: &str,
        (split, start): (Split, usize),
        forecast: &Forecast,
        task: &Forecasting,
    ) -> Result<Self> {
        let series = task.module.series();
        let of = |forecast: &Forecast| {
            Ok::<_, anyhow::Error>(forecast.metric(MetricName::Mae)?.unwrap_or(f64::NAN))
        };
        let mut maes = vec![(name.to_owned(), of(forecast)?)];
        let season = task.module.baselines().season;
        let rows = start..start + forecast.time.len();
        let reach = forecast.steps.len().saturating_mul(forecast.stride);
        let Comparable { baselines, too_much_work } = Comparable::new(series, &rows, season, (reach, 1))?;
        for baseline in baselines.into_iter().filter(|baseline| baseline.name() != name) {
            // A baseline is left out if it has too few rows before the split, or needs a season that is unknown.
            if let Ok(made) = Forecast::new(&task.baseline(baseline), series, rows.clone()) {
                maes.push((baseline.name().to_owned(), of(&made.only_where(forecast)?)?));
            }
        }
        let scales = MaseScales::new(series, task.module.validation().start, season)?;
        let of_columns = forecast.columns(MetricName::Mae)?;
        let columns = forecast.names.iter().zip(&of_columns).zip(scales.scaled(&of_columns));
        let columns = columns.map(|((name, &mae), mase)| Column { name: name.clone(), mae, mase });
        Ok(Self {
            split,
            horizon: forecast.steps.len(),
            season,
            maes,
            columns: columns.collect(),
            scale_season: scales.season,
            mape: forecast.metric(MetricName::Mape)?,
            counts: forecast.counts()?,
            too_much_work,
        })
    }

    /// Returns the mean absolute error of the model or baseline `name`; `None` if it is not in the comparison.
    pub fn mae(&self, name: &str) -> Option<f64> {
        self.maes.iter().find(|(of, _)| of == name).map(|(_, mae)| *mae)
    }

    /// Returns the name of the model and its mean absolute error.
    pub fn model(&self) -> (&str, f64) {
        self.maes.first().map_or(("", f64::NAN), |(name, mae)| (name, *mae))
    }

    /// Returns the mean of the scaled errors of all columns that have one; NaN if none has.
    fn mase(&self) -> f64 {
        let scaled = || self.columns.iter().map(|column| column.mase).filter(|mase| !mase.is_nan());
        scaled().sum::<f64>() / scaled().count() as f64
    }

    /// Returns a table with one line per model, the smallest error first, and what the errors are over.
    pub fn table(&self) -> String {
        let mut rows: Vec<_> = self.maes.iter().collect();
        rows.sort_by(|a, b| a.1.total_cmp(&b.1));
        let ahead =
            if self.horizon == 1 { "one step".into() } else { format!("1 to {} steps", self.horizon) };
        let season = self.season.map_or_else(String::new, |rows| format!(" (a season is {rows} rows)"));
        let mut text =
            format!("MAE of forecasts of the {} split, {ahead} ahead{season}\n", self.split.name());
        // Writing to a string cannot fail.
        for (name, mae) in rows {
            let _ = writeln!(text, "  {name:<16}{:>10}", number(*mae));
        }
        if !self.mase().is_nan() {
            let (model, season) = (self.model().0, self.scale_season);
            let _ = writeln!(text, "  MASE (season {season}) of {model} {}", number(self.mase()));
        }
        if self.too_much_work {
            text += LEFT_OUT;
        }
        self.write_counts(&mut text);
        if self.columns.len() > 1 {
            self.write_columns(&mut text);
        }
        text
    }

    /// Writes the numbers of values that the errors leave out.
    fn write_counts(&self, text: &mut String) {
        let Counts { compared, nonzero, missing } = self.counts;
        let stage = self.split.stage();
        let scaled = self.columns.iter().filter(|column| !column.mase.is_nan()).count();
        if scaled < self.columns.len() && self.columns.len() > 1 {
            let _ = writeln!(
                text,
                "  MASE is over {scaled} of {} columns: the others repeat in the training split",
                self.columns.len()
            );
        }
        match self.mape {
            Some(mape) if nonzero < compared => {
                let mape = number(mape);
                let _ = writeln!(
                    text,
                    "  {stage}_mape {mape} % over the {nonzero} of {compared} values that are not 0"
                );
            }
            None if compared > 0 => {
                let _ = writeln!(text, "  {stage}_mape is left out: all {compared} values are 0");
            }
            _ => {}
        }
        if missing > 0 {
            let all = compared + missing;
            let _ = writeln!(text, "  {missing} of {all} forecasts are left out: values are missing");
        }
    }

    fn write_columns(&self, text: &mut String) {
        let _ = writeln!(text, "Columns            {:>10}{:>12}", "MAE", "MASE");
        for Column { name, mae, mase } in self.columns.iter().take(MOST_COLUMNS) {
            let mase = if mase.is_nan() { String::new() } else { number(*mase) };
            let _ = writeln!(text, "  {name:<16} {:>10}{mase:>12}", number(*mae));
        }
        if let Some(more) = self.columns.len().checked_sub(MOST_COLUMNS).filter(|more| *more > 0) {
            let _ = writeln!(text, "  and {} (results.json has all)", count(more as u64, "more column"));
        }
    }

    /// Returns the errors as a JSON object.
    pub fn json(&self) -> Value {
        let maes: Map<String, Value> =
            self.maes.iter().map(|(name, mae)| (name.clone(), (*mae).into())).collect();
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|Column { name, mae, mase }| json!({"name": name, "mae": mae, "mase": mase}))
            .collect();
        let Counts { compared, nonzero, missing } = self.counts;
        json!({
            "mase": self.mase(),
            "mase_season": self.scale_season,
            "season": self.season,
            "mae": maes,
            "columns": columns,
            "values": compared,
            "values_not_0": nonzero,
            "missing": missing,
        })
    }
}

/// Returns the work of the statistical models, in about a microsecond: they are estimated on the rows before `rows`, with a season,
/// and forecast `reach` rows after each of `rows`.
fn work(series: &Series, rows: &Range<usize>, season: Option<usize>, reach: usize) -> usize {
    let season = season.unwrap_or(1);
    let square = if season <= SHORT_SEASON { season * season } else { 1 };
    let estimation = rows.start.saturating_mul(season.max(square));
    let forecasts = rows.len().saturating_mul(reach.min(rows.len())) / 50;
    estimation.saturating_add(forecasts).saturating_mul(series.names.len())
}

/// Returns whether more than half of the values before row `start` are 0.
fn is_intermittent(series: &Series, start: usize) -> Result<bool> {
    let past = series.values.f_narrow(0, 0, start as i64)?;
    let zeros = past.f_eq(0.0)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    Ok(zeros as usize > past.numel() / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::{SyntheticConfig, synthetic};

    fn series(length: usize, noise_level: f64) -> Series {
        synthetic(&SyntheticConfig { length, noise_level, ..SyntheticConfig::default() }).unwrap()
    }

    #[test]
    fn work_of_long_series_long_seasons_and_long_forecasts_is_too_much() {
        let of =
            |length, season, reach| work(&series(length, 0.0), &(length / 2..length), Some(season), reach);
        for (length, season, reach) in [(8_000, 48, 48), (1_000, 12, 12), (3_000, 24, 1), (2_922, 365, 1)] {
            assert!(of(length, season, reach) <= MOST_WORK, "{length} {season} {reach}");
        }
        for (length, season, reach) in [(400_000, 24, 1), (200_000, 365, 1), (20_000, 1, 20_000)] {
            assert!(of(length, season, reach) > MOST_WORK, "{length} {season} {reach}");
        }
        assert_eq!(of(10, usize::MAX, usize::MAX), usize::MAX);
    }

    #[test]
    fn series_of_more_zeros_than_half_before_the_split_is_intermittent() {
        let series = series(10, 1.0);
        assert!(!is_intermittent(&series, 8).unwrap());
        let _ = series.values.narrow(0, 0, 5).zero_();
        assert!(is_intermittent(&series, 9).unwrap() && !is_intermittent(&series, 10).unwrap());
    }
}
