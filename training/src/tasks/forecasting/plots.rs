//! The plots of a forecast and of its series.

use std::path::Path;

use anyhow::Result;
use tch::Tensor;

use crate::format::count;
use crate::report::plots::{self, Band, ForecastColumn, ForecastPath, PlotLabels};
use crate::time_series::{
    Backtest, Bands, Fold, Forecast, Future, Level, PathEnds, Series, SeriesDataModule,
};

/// The most points in time whose forecasts of several steps are plotted.
const MOST_ORIGINS: usize = 6;

/// The most groups of rows of a long series. A plot has far fewer dots than such a series has rows.
const MOST_GROUPS: usize = 4096;

fn labels<'a>(title: &'a str, series: &Series) -> PlotLabels<'a> {
    PlotLabels { title, x: "time", x_is_date: series.timestamps.is_date(), y: "value" }
}

/// Plots the columns of a series, one below the other. A long series is plotted by the extremes of groups of rows.
///
/// # Errors
/// Fails if a column has no value, or if the files cannot be written.
pub fn series(stem: &Path, series: &Series) -> Result<()> {
    let rows = series.len();
    let group = rows.div_ceil(MOST_GROUPS);
    // A group of fewer rows would save nothing.
    let group = if group < 4 { 1 } else { group };
    let x = |row: usize| series.timestamps.numbers_of(row..row + 1);
    let x: Vec<f64> = match group {
        1 => series.timestamps.numbers(),
        _ => (0..rows)
            .step_by(group)
            .flat_map(|start| [x(start), x((start + group / 2).min(rows - 1))].concat())
            .collect(),
    };
    let column = |column: usize| -> Result<Vec<f64>> {
        let values = series.column(column)?;
        Ok(if group == 1 { values } else { values.chunks(group).flat_map(extremes).collect() })
    };
    let columns = series.names.iter().enumerate().map(|(at, name)| Ok((name.clone(), column(at)?)));
    plots::series(stem, &labels("series", series), &x, &columns.collect::<Result<Vec<_>>>()?)
}

/// Returns the least and the greatest value, or NaN if all are missing.
fn extremes(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::NAN; 2], |[least, greatest], &value| [least.min(value), greatest.max(value)])
}

/// Plots the forecast of a split, its name and its first row, over the actual values, with its intervals: of one step ahead for each
/// row, and of several steps ahead from a few points in time, with some of the past.
pub fn forecast(
    stem: &Path,
    (split, start): (&str, usize),
    forecast: &Forecast,
    series: &Series,
    bands: Option<&Bands>,
) -> Result<()> {
    let (rows, horizon) = (forecast.time.len(), forecast.steps.len());
    let reach = (horizon - 1).saturating_mul(forecast.stride).min(rows.saturating_sub(1));
    let origins = origins(rows, reach);
    let title = match (horizon, origins.len()) {
        (1, _) => format!("one-step forecast of the {split} split"),
        (_, 1) => format!("forecast of {horizon} steps in the {split} split"),
        (_, many) => format!("{many} of the forecasts of {horizon} steps in the {split} split"),
    };
    let from = if horizon == 1 { start } else { start.saturating_sub(2 * (reach + 1)) };
    let x = series.timestamps.numbers_of(from..start + rows);
    // Of each step ahead: the forecasts, and the ends of their intervals.
    let steps = forecast.predicted()?.into_iter().enumerate().map(|(at, predicted)| {
        let ends = bands.map_or_else(|| Ok(Vec::new()), |bands| bands.ends(&predicted, at))?;
        Ok((predicted.made, ends))
    });
    let steps = steps.collect::<Result<Vec<_>>>()?;
    let columns = forecast.names.iter().cloned().zip(0..).map(|(name, at)| {
        let actual = series.column(at)?.get(from..start + rows).unwrap_or_default().to_vec();
        let lines = steps.iter().map(|(made, ends)| Line::new(made, ends, at)).collect::<Result<Vec<_>>>()?;
        let x = |row: usize| x.get(start - from + row).copied().unwrap_or(f64::NAN);
        let paths = match &lines[..] {
            [only] => vec![path((0..rows).map(|row| (x(row), only, row)))],
            _ => {
                let of = |origin: usize| {
                    let places = lines.iter().enumerate();
                    path(
                        places
                            .map(|(step, line)| (origin + step * forecast.stride, line))
                            .filter_map(|(row, line)| (row < rows).then_some((x(row), line, row))),
                    )
                };
                origins.iter().map(|&origin| of(origin)).collect()
            }
        };
        Ok(ForecastColumn { name, actual, paths })
    });
    plots::forecast(stem, &labels(&title, series), &x, &columns.collect::<Result<Vec<_>>>()?)
}

/// Plots a forecast of the future after the latest rows of its series, with its intervals.
///
/// # Errors
/// Fails if the files cannot be written.
pub fn future(stem: &Path, future: &Future) -> Result<()> {
    let Future { series, stride, forecast, ends } = future;
    let steps = forecast.len();
    let season = series.season.unwrap_or(1);
    let shown = series.len().min(MOST_GROUPS).min((3 * steps * stride).max(3 * season).max(20));
    let from = series.len() - shown;
    let past = series.timestamps.numbers_of(from..series.len());
    let last = past.last().copied().unwrap_or(0.0);
    let next = future.times().map_or_else(
        || (1..=steps).map(|step| last + (step * stride) as f64).collect(),
        |times| times.numbers(),
    );
    let x = [past, next.clone()].concat();
    let columns = series.names.iter().enumerate().map(|(at, name)| {
        let mut actual = series.column(at)?.split_off(from);
        actual.resize(x.len(), f64::NAN);
        let mut levels: Vec<_> = ends.iter().collect();
        levels.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        let of_level = |(level, [low, high]): &PathEnds| Band {
            name: format!("{level} %"),
            ends: low.iter().zip(high).map(|(low, high)| (low[at], high[at])).collect(),
        };
        let path = ForecastPath {
            points: next.iter().copied().zip(forecast.iter().map(|row| row[at])).collect(),
            bands: levels.into_iter().map(of_level).collect(),
        };
        Ok(ForecastColumn { name: name.clone(), actual, paths: vec![path] })
    });
    let title = format!("forecast of {} after the last row", count(steps as u64, "step"));
    plots::forecast(stem, &labels(&title, series), &x, &columns.collect::<Result<Vec<_>>>()?)
}

/// The forecasts of one column at one step ahead, with the ends of their intervals.
struct Line {
    made: Vec<f64>,
    /// The widest interval first.
    ends: Vec<(Level, [Vec<f64>; 2])>,
}

impl Line {
    fn new(made: &Tensor, ends: &[(Level, [Tensor; 2])], at: usize) -> Result<Self> {
        let column = |tensor: &Tensor| -> Result<Vec<f64>> {
            Ok(Vec::<f64>::try_from(tensor.f_select(1, at as i64)?.f_contiguous()?)?)
        };
        let ends = ends.iter().map(|(level, [low, high])| Ok((*level, [column(low)?, column(high)?])));
        let mut ends = ends.collect::<Result<Vec<_>>>()?;
        ends.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        Ok(Self { made: column(made)?, ends })
    }
}

/// Returns the line through points: the x, and the line and the row of its forecast.
fn path<'a>(points: impl Iterator<Item = (f64, &'a Line, usize)>) -> ForecastPath {
    let points: Vec<_> = points.collect();
    let levels = points.first().map_or(0, |(_, line, _)| line.ends.len());
    let bands = (0..levels).filter_map(|at| {
        let (level, _) = points.first()?.1.ends[at];
        let ends = points.iter().map(|(_, line, row)| {
            let [low, high] = &line.ends[at].1;
            (low[*row], high[*row])
        });
        Some(Band { name: format!("{level} %"), ends: ends.collect() })
    });
    ForecastPath {
        bands: bands.collect(),
        points: points.iter().map(|(x, line, row)| (*x, line.made[*row])).collect(),
    }
}

/// Plots the forecasts of a backtest from a few cutoffs over the actual values, with some of the past.
///
/// # Errors
/// Fails if the files cannot be written.
pub fn backtest(stem: &Path, model: &str, backtest: &Backtest, module: &SeriesDataModule) -> Result<()> {
    let (series, all) = (module.series(), backtest.folds.len());
    // The last forecast is among them, and others do not overlap with it.
    let shown: Vec<&Fold> = backtest.folds.iter().rev().step_by(all.div_ceil(MOST_ORIGINS)).collect();
    let first = shown.last().map_or(0, |fold| fold.cutoff);
    let span = series.len() - first;
    let from = first.saturating_sub(span.max(2 * module.baselines().season.unwrap_or(1)));
    let x = series.timestamps.numbers_of(from..series.len());
    let columns = series.names.iter().enumerate().map(|(at, name)| {
        let actual = series.column(at)?.split_off(from);
        let of_fold = |fold: &&Fold| -> Result<ForecastPath> {
            let line = Line::new(&fold.made, &fold.ends, at)?;
            Ok(path(fold.rows.iter().enumerate().map(|(step, row)| (x[row - from], &line, step))))
        };
        let paths = shown.iter().map(of_fold).collect::<Result<_>>()?;
        Ok(ForecastColumn { name: name.clone(), actual, paths })
    });
    let title = match (all, shown.len()) {
        (1, _) => format!("backtest of {model}"),
        (all, shown) if all == shown => format!("backtest of {model}, {all} folds"),
        (all, shown) => format!("backtest of {model}, {shown} of {all} folds"),
    };
    plots::forecast(stem, &labels(&title, series), &x, &columns.collect::<Result<Vec<_>>>()?)
}

/// Returns the first rows of a few forecasts over `rows` rows, the first and the last complete one among them. Each ends `reach`
/// rows after its first, and they do not overlap if there is room.
fn origins(rows: usize, reach: usize) -> Vec<usize> {
    let last = rows.saturating_sub(reach + 1);
    let count = (rows / (reach + 1)).clamp(1, MOST_ORIGINS);
    (0..count).map(|at| at * last / (count - 1).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_of_values_with_gaps_leave_them_out() {
        assert_eq!(extremes(&[2.0, f64::NAN, -1.0]), [-1.0, 2.0]);
        assert!(extremes(&[f64::NAN]).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn origins_of_forecasts_do_not_overlap_and_include_the_first_and_the_last() {
        assert_eq!(origins(12, 11), [0]);
        assert_eq!(origins(13, 11), [0]);
        assert_eq!(origins(36, 11), [0, 12, 24]);
        assert_eq!(origins(1000, 11), [0, 197, 395, 592, 790, 988]);
        assert_eq!(origins(1, 0), [0]);
    }
}
