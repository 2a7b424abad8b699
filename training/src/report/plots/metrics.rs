//! Plots of loss and metrics by epoch, with one panel per metric.

use std::path::Path;

use anyhow::{Context, Result};

use super::chart::{Chart, Curve};
use super::{HEIGHT, WIDTH, grid};

/// The metrics at one time in a run, which may be within an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured<'a> {
    /// Finished epochs, with a fraction within an epoch.
    pub epoch: f64,
    /// Names, such as `train_loss`, `val_loss` and `val_acc`, and values.
    pub values: &'a [(String, f64)],
}

/// The splits in the order of the legend, each with the index of its shade. The test split is the darkest.
const SPLITS: [(&str, usize); 3] = [("train", 0), ("val", 1), ("test", 2)];
/// A light, a middle and a dark shade per metric. Color-blind people can distinguish the colors of the metrics.
const FAMILIES: [[&str; 3]; 4] = [
    ["#7ab8dc", "#0072b2", "#003a5c"],
    ["#f0a878", "#d55e00", "#6e3000"],
    ["#7fcfb5", "#009e73", "#00503a"],
    ["#e3b4d0", "#b5568a", "#5e2a47"],
];

/// Plots every metric in `records` by epoch, with `train_X`, `val_X` and `test_X` in the panel of `X`.
///
/// A line connects values at the usual distance of the metric in epochs, for example two for a validation every second
/// epoch. The line has a gap at longer distances and at values that are NaN or infinite.
///
/// # Errors
/// Fails if no value is finite, or the folder cannot be written to.
pub fn metrics(stem: &Path, records: &[Measured]) -> Result<()> {
    let plot = || {
        let mut kinds: Vec<&str> = Vec::new();
        for (name, _) in records.iter().flat_map(|record| record.values) {
            let (_, kind) = split(name);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        // Omit a metric without a finite value, and plot the others.
        let charts: Vec<_> = kinds
            .iter()
            .enumerate()
            .filter_map(|(i, kind)| panel(kind, FAMILIES[i % FAMILIES.len()], records).transpose())
            .collect::<Result<_>>()?;
        let nothing = "no metric with a finite value, expected at least one";
        charts.first().context(nothing)?;
        let one = charts.len() == 1;
        let (columns, size) = if one { (1, (WIDTH, HEIGHT)) } else { (2, (0.65 * WIDTH, 0.65 * HEIGHT)) };
        grid(&charts, columns, size, stem)
    };
    plot().with_context(|| format!("cannot plot {}", stem.display()))
}

/// Returns the shade of the split and the metric of a name: `val_loss` is the loss on the validation split. A name
/// without a split is a metric of the whole run.
fn split(name: &str) -> (Option<usize>, &str) {
    let of_split = |(prefix, shade): &(&str, usize)| {
        let kind = name.strip_prefix(prefix)?.strip_prefix(['_', '/'])?;
        Some((Some(*shade), kind))
    };
    SPLITS.iter().find_map(of_split).unwrap_or((None, name))
}

/// Returns the panel of the metric `kind`, or `None` if it has no finite value.
fn panel(kind: &str, family: [&'static str; 3], records: &[Measured]) -> Result<Option<Chart>> {
    let mut curves = Vec::new();
    for shade in [None, Some(0), Some(1), Some(2)] {
        let points: Vec<_> = records
            .iter()
            .flat_map(|record| record.values.iter().map(|(name, value)| (record.epoch, name, *value)))
            .filter(|(_, name, _)| split(name) == (shade, kind))
            .map(|(epoch, _, value)| (epoch, value))
            .collect();
        let name = shade.map_or(kind, |shade| SPLITS[shade].0);
        let mut curve = Curve::new(name, family[shade.unwrap_or(1)], with_gaps(&points).into_iter());
        curve.dots = true;
        if !curve.pieces.is_empty() {
            curves.push(curve);
        }
    }
    if curves.is_empty() {
        return Ok(None);
    }
    Chart::new(kind, "epoch", "", curves).map(Some)
}

/// Inserts a NaN between two points whose distance is more than 1.5 times the median distance.
fn with_gaps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut steps: Vec<_> = points.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    steps.sort_unstable_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let mut out = Vec::with_capacity(points.len());
    for (i, &point) in points.iter().enumerate() {
        if i > 0 && point.0 - points[i - 1].0 > 1.5 * usual {
            out.push((point.0, f64::NAN));
        }
        out.push(point);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(epochs: &[f64], name: &str) -> Vec<(f64, Vec<(String, f64)>)> {
        epochs.iter().map(|&epoch| (epoch, vec![(name.to_owned(), 1.0 / epoch)])).collect()
    }

    fn pieces(records: &[(f64, Vec<(String, f64)>)]) -> Vec<usize> {
        let measured: Vec<_> =
            records.iter().map(|(epoch, values)| Measured { epoch: *epoch, values }).collect();
        let chart = panel("loss", FAMILIES[0], &measured).unwrap().unwrap();
        chart.curves[0].pieces.iter().map(Vec::len).collect()
    }

    #[test]
    fn split_of_a_name_returns_its_shade_and_metric() {
        assert_eq!(split("train_loss"), (Some(0), "loss"));
        assert_eq!(split("val/mae"), (Some(1), "mae"));
        assert_eq!(split("test_acc"), (Some(2), "acc"));
        assert_eq!(split("trainable"), (None, "trainable"));
        assert_eq!(split("lr"), (None, "lr"));
    }

    #[test]
    fn line_at_a_longer_distance_has_a_gap() {
        assert_eq!(pieces(&records(&[2.0, 4.0, 6.0, 8.0, 9.0], "val_loss")), [5]);
        assert_eq!(pieces(&records(&[1.0, 2.0, 3.0, 8.0, 9.0], "val_loss")), [3, 2]);
        let mut diverged = records(&[1.0, 2.0, 3.0], "val_loss");
        diverged[1].1[0].1 = f64::NAN;
        assert_eq!(pieces(&diverged), [1, 1]);
    }

    #[test]
    fn panel_of_three_splits_has_three_shades_of_a_color() {
        let values = ["val_loss", "train_loss", "test_loss", "train_acc"].map(|name| (name.to_owned(), 0.5));
        let measured = Measured { epoch: 1.0, values: &values };
        let chart = panel("loss", FAMILIES[0], &[measured]).unwrap().unwrap();
        let names: Vec<_> = chart.curves.iter().map(|c| (c.name.as_str(), c.color)).collect();
        let [light, middle, dark] = FAMILIES[0];
        assert_eq!(names, [("train", light), ("val", middle), ("test", dark)]);
        assert!(panel("mae", FAMILIES[0], &[measured]).unwrap().is_none());
    }
}
