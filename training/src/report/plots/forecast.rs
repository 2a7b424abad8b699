//! Plots forecasts over the actual values.

use anyhow::Result;

use super::chart::{Area, COLORS, Curve};
use super::{PlotLabels, curve, panels};

/// The actual values of one column, and its forecasts.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastColumn {
    /// The column's name.
    pub name: String,
    /// The actual values, one per point on the x axis; NaN if there is none.
    pub actual: Vec<f64>,
    /// The forecasts: one line of all one-step forecasts, or a line from each of a few points in time.
    pub paths: Vec<Path>,
}

/// A line of forecasts with its intervals.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Path {
    /// Pairs of x and y. A forecast that is NaN is a gap.
    pub points: Vec<(f64, f64)>,
    /// The intervals, in any order.
    pub bands: Vec<Band>,
}

/// The intervals of one level.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    /// The name in the legend, such as `80 %`.
    pub name: String,
    /// The lower and the upper end at each point of the line.
    pub ends: Vec<(f64, f64)>,
}

/// Plots the forecasts of each column over its actual values, with one panel per column and its intervals as areas. Plots at most
/// 12 columns.
///
/// # Errors
/// Fails if a column is not as long as `x`, a column has no finite value, or the folder cannot be written to.
pub fn forecast(
    stem: &std::path::Path,
    labels: &PlotLabels,
    x: &[f64],
    columns: &[ForecastColumn],
) -> Result<()> {
    panels(stem, labels, x, columns, |ForecastColumn { name, actual, paths }| {
        // Actual values are noisy: a thin line behind the forecast.
        let mut actual = curve("actual", COLORS[0], x, actual)?;
        actual.width = 1.2;
        let gap = (f64::NAN, f64::NAN);
        let points = paths.iter().flat_map(|path| path.points.iter().copied().chain([gap]));
        let mut forecast = Curve::new("forecast", COLORS[1], points);
        forecast.dots = true;
        let areas = paths.iter().flat_map(|path| {
            path.bands.iter().map(|band| {
                let x = path.points.iter().map(|point| point.0);
                Area::new(&band.name, COLORS[1], x.zip(band.ends.iter().copied()))
            })
        });
        forecast.areas = areas.collect();
        Ok((name, vec![actual, forecast]))
    })
}
