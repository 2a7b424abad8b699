//! Plots forecasts of several steps ahead.

use std::path::Path;

use anyhow::Result;

use super::chart::{COLORS, Curve};
use super::{PlotLabels, curve, panels};

/// The actual values of one column, and its forecasts from a few points in time.
#[derive(Debug, Clone, PartialEq)]
pub struct PathsColumn {
    /// The column's name.
    pub name: String,
    /// The actual values, one per point on the x axis; NaN if there is none.
    pub actual: Vec<f64>,
    /// The forecasts: for each point in time the steps ahead, as pairs of x and y.
    pub paths: Vec<Vec<(f64, f64)>>,
}

/// Plots the paths of each column over its actual values, with one panel per column. Plots at most 12 columns.
///
/// # Errors
/// Fails if a column is not as long as `x`, a column has no finite value, or the folder cannot be written to.
pub fn paths(stem: &Path, labels: &PlotLabels, x: &[f64], columns: &[PathsColumn]) -> Result<()> {
    panels(stem, labels, x, columns, |PathsColumn { name, actual, paths }| {
        let mut actual = curve("actual", COLORS[0], x, actual)?;
        actual.width = 1.2;
        let gap = (f64::NAN, f64::NAN);
        let points = paths.iter().flat_map(|path| path.iter().copied().chain([gap]));
        let mut forecast = Curve::new("forecast", COLORS[1], points);
        forecast.dots = true;
        Ok((name, vec![actual, forecast]))
    })
}
