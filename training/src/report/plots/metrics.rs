//! Loss and metrics by epoch, a panel for each kind.

use std::path::Path;

use anyhow::{Context, Result};

use super::chart::{Chart, Curve};
use super::{HEIGHT, WIDTH, grid};

/// What was measured at one moment of a run; `epoch` may lie within an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured<'a> {
    /// Epochs finished before this moment.
    pub epoch: f64,
    /// Names, such as `train_loss`, `val_loss`, `val_acc`, and values.
    pub values: &'a [(String, f64)],
}

/// The parts of a run, in the order of the legend, with the shade of each: what is reported darkest.
const SPLITS: [(&str, usize); 3] = [("train", 0), ("val", 1), ("test", 2)];
/// By metric: light, middle and dark of one colour, which the colour-blind tell from the others.
const FAMILIES: [[&str; 3]; 4] = [
    ["#7ab8dc", "#0072b2", "#003a5c"],
    ["#f0a878", "#d55e00", "#6e3000"],
    ["#7fcfb5", "#009e73", "#00503a"],
    ["#e3b4d0", "#b5568a", "#5e2a47"],
];

/// Draws every metric in `records` by epoch: `train_X`, `val_X` and `test_X` in the panel of `X`.
///
/// A line joins the values of a metric at its usual distance in epochs, so also when it is validated every other
/// epoch; where it was not measured for longer, or is not a number, the line has a gap.
///
/// # Errors
/// When no value can be drawn, or the folder cannot be written to.
pub fn metrics(stem: &Path, records: &[Measured]) -> Result<()> {
    let draw = || {
        let mut kinds: Vec<&str> = Vec::new();
        for (name, _) in records.iter().flat_map(|record| record.values) {
            let (_, kind) = split(name);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        // A metric that was never a finite number has nothing to show; the others still have.
        let charts: Vec<_> = kinds
            .iter()
            .enumerate()
            .filter_map(|(i, kind)| panel(kind, FAMILIES[i % FAMILIES.len()], records).transpose())
            .collect::<Result<_>>()?;
        let nothing = "no metric to draw: there is no record, or no value in one that is finite";
        charts.first().context(nothing)?;
        let one = charts.len() == 1;
        let (columns, size) = if one { (1, (WIDTH, HEIGHT)) } else { (2, (0.65 * WIDTH, 0.65 * HEIGHT)) };
        grid(&charts, columns, size, stem)
    };
    draw().with_context(|| format!("drawing {}", stem.display()))
}

/// `val_loss` is the loss on the validation part; a name without a part is a metric of the whole run.
fn split(name: &str) -> (Option<usize>, &str) {
    let part = |(prefix, shade): &(&str, usize)| {
        let kind = name.strip_prefix(prefix)?.strip_prefix(['_', '/'])?;
        Some((Some(*shade), kind))
    };
    SPLITS.iter().find_map(part).unwrap_or((None, name))
}

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

/// Adds a point that cannot be drawn wherever two lie farther apart than is usual for them.
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
    fn names_belong_to_the_panel_of_their_kind() {
        assert_eq!(split("train_loss"), (Some(0), "loss"));
        assert_eq!(split("val/mae"), (Some(1), "mae"));
        assert_eq!(split("test_acc"), (Some(2), "acc"));
        assert_eq!(split("trainable"), (None, "trainable"));
        assert_eq!(split("lr"), (None, "lr"));
    }

    #[test]
    fn a_line_joins_the_usual_distance_and_breaks_at_a_longer_one() {
        assert_eq!(pieces(&records(&[2.0, 4.0, 6.0, 8.0, 9.0], "val_loss")), [5]);
        assert_eq!(pieces(&records(&[1.0, 2.0, 3.0, 8.0, 9.0], "val_loss")), [3, 2]);
        let mut diverged = records(&[1.0, 2.0, 3.0], "val_loss");
        diverged[1].1[0].1 = f64::NAN;
        assert_eq!(pieces(&diverged), [1, 1]);
    }

    #[test]
    fn the_parts_of_a_run_share_a_panel_and_a_family_of_colours() {
        let values = ["val_loss", "train_loss", "test_loss", "train_acc"].map(|name| (name.to_owned(), 0.5));
        let measured = Measured { epoch: 1.0, values: &values };
        let chart = panel("loss", FAMILIES[0], &[measured]).unwrap().unwrap();
        let names: Vec<_> = chart.curves.iter().map(|c| (c.name.as_str(), c.colour)).collect();
        let [light, middle, dark] = FAMILIES[0];
        assert_eq!(names, [("train", light), ("val", middle), ("test", dark)]);
        assert!(panel("mae", FAMILIES[0], &[measured]).unwrap().is_none());
    }
}
