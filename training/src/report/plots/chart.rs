//! One panel of a plot: curves on two axes, in the same style for all plots.

use anyhow::{Context, Result};
use kuva::plot::BandPlot;
use kuva::plot::legend::{LegendEntry, LegendPosition, LegendShape};
use kuva::prelude::{Layout, LinePlot, Plot, ReferenceLine, ScatterPlot, Theme};

use super::axis::{Axis, extent, plottable};

/// Two colors that color-blind people can distinguish too (Okabe and Ito, "Color Universal Design", 2008).
pub(super) const COLORS: [&str; 2] = ["#0072b2", "#d55e00"];
/// The color of the mark.
const INK: &str = "#444444";
/// The number of pixel columns for which a curve is thinned.
const COLUMNS: f64 = 1000.0;
/// A curve of at most this many points has a dot per point, which distinguishes measured values from the line between
/// them.
const DOTTED: usize = 60;

/// A named curve.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub name: String,
    pub color: &'static str,
    pub width: f64,
    /// Whether the points have dots, if they are few.
    pub dots: bool,
    /// The pieces of the line between its gaps.
    pub pieces: Vec<Vec<(f64, f64)>>,
    /// Areas behind the line.
    pub areas: Vec<Area>,
}

/// A named area between two lines.
#[derive(Debug, Clone)]
pub(super) struct Area {
    pub name: String,
    color: &'static str,
    /// The pieces between its gaps: x, and the lower and the upper y.
    pieces: Vec<Vec<(f64, (f64, f64))>>,
}

impl Area {
    /// The opacity of an area. Areas lie above each other, so that the narrowest is the darkest.
    const OPACITY: f64 = 0.16;

    /// Creates an area, with a gap at each value that cannot be plotted.
    pub fn new(name: &str, color: &'static str, points: impl Iterator<Item = (f64, (f64, f64))>) -> Self {
        let mut pieces = vec![Vec::new()];
        for (x, (low, high)) in points {
            match (plottable(x), plottable(low), plottable(high), pieces.last_mut()) {
                (Some(x), Some(low), Some(high), Some(piece)) => piece.push((x, (low, high))),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        Self { name: name.to_owned(), color, pieces }
    }

    /// Returns the points of both lines.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.pieces.iter().flatten().flat_map(|&(x, (low, high))| [(x, low), (x, high)])
    }

    /// Returns the pieces, with at most one point per pixel column, whose ends contain those of its points.
    fn plots(&self, x: &Axis, y: &Axis) -> impl Iterator<Item = Plot> {
        self.pieces.iter().map(|piece| {
            let place = |value| clamp(y, y.place(value));
            let groups = piece.chunks(piece.len().div_ceil(COLUMNS as usize)).map(|group| {
                let low = group.iter().map(|(_, ends)| ends.0).fold(f64::INFINITY, f64::min);
                let high = group.iter().map(|(_, ends)| ends.1).fold(f64::NEG_INFINITY, f64::max);
                (x.place(group[0].0), place(low), place(high))
            });
            let groups: Vec<_> = groups.collect();
            let column = |of: fn(&(f64, f64, f64)) -> f64| groups.iter().map(of).collect::<Vec<_>>();
            BandPlot::new(column(|group| group.0), column(|group| group.1), column(|group| group.2))
                .with_color(self.color)
                .with_opacity(Self::OPACITY)
                .into()
        })
    }

    /// Returns the entry of an area that lies on `below` others, in the color that this gives on white.
    fn legend(&self, below: usize) -> LegendEntry {
        let opacity = 1.0 - (1.0 - Self::OPACITY).powi(below as i32 + 1);
        let part = |at: usize| u8::from_str_radix(&self.color[at..at + 2], 16).unwrap_or_default();
        let mixed = [1, 3, 5].map(|at| (255.0 - opacity * (255.0 - f64::from(part(at)))).round() as u8);
        let [red, green, blue] = mixed;
        LegendEntry {
            label: self.name.clone(),
            color: format!("#{red:02x}{green:02x}{blue:02x}"),
            shape: LegendShape::Rect,
            dasharray: None,
        }
    }
}

impl Curve {
    /// Creates a curve through `points`, with a gap at each value that cannot be plotted.
    pub fn new(name: &str, color: &'static str, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut pieces = vec![Vec::new()];
        for (x, y) in points {
            match (plottable(x), plottable(y), pieces.last_mut()) {
                (Some(x), Some(y), Some(piece)) => piece.push((x, y)),
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        Curve { name: name.to_owned(), color, width: 1.8, dots: false, pieces, areas: Vec::new() }
    }

    /// Returns the points of all pieces.
    pub fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.pieces.iter().flatten().copied()
    }

    /// Returns the points of the line and of the areas.
    fn extents(&self) -> impl Iterator<Item = (f64, f64)> {
        self.points().chain(self.areas.iter().flat_map(Area::points))
    }

    /// Returns the entries of the line and of its areas. Areas of the same name have one entry.
    fn legend(&self) -> Vec<LegendEntry> {
        let line = LegendEntry {
            label: self.name.clone(),
            color: self.color.to_owned(),
            shape: LegendShape::Line,
            dasharray: None,
        };
        let mut entries = vec![line];
        for area in &self.areas {
            if entries.iter().all(|entry| entry.label != area.name) {
                entries.push(area.legend(entries.len() - 1));
            }
        }
        entries
    }

    fn plots(&self, x: &Axis, y: &Axis) -> Vec<Plot> {
        let mut plots = Vec::new();
        let mut dots = Vec::new();
        let dotted = self.dots && self.points().count() <= DOTTED;
        for piece in &self.pieces {
            let placed: Vec<_> = piece.iter().map(|&(vx, vy)| (x.place(vx), clamp(y, y.place(vy)))).collect();
            // A line through one point is invisible without a dot.
            if dotted || placed.len() == 1 {
                dots.extend(&placed);
            }
            let line = LinePlot::new()
                .with_data(thinned(&placed, x))
                .with_color(self.color)
                .with_stroke_width(self.width);
            plots.push(line.into());
        }
        if !dots.is_empty() {
            let dots = ScatterPlot::new().with_data(dots).with_color(self.color).with_size(3.0);
            plots.push(dots.into());
        }
        plots
    }
}

/// Limits a position far outside of the panel to one near it. The line still leaves the panel, and pixel positions do
/// not overflow.
fn clamp(axis: &Axis, place: f64) -> f64 {
    let span = axis.high - axis.low;
    place.clamp(axis.low - 100.0 * span, axis.high + 100.0 * span)
}

/// Returns the first, the lowest, the highest and the last point per pixel column, which give the same line as all
/// points (Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", 2014). Keeps short curves
/// unchanged.
fn thinned(points: &[(f64, f64)], x: &Axis) -> Vec<(f64, f64)> {
    if points.len() as f64 <= 4.0 * COLUMNS {
        return points.to_vec();
    }
    let column = |place: f64| ((place - x.low) / (x.high - x.low) * COLUMNS) as i64;
    let mut kept = Vec::new();
    for run in points.chunk_by(|a, b| column(a.0) == column(b.0)) {
        let by_height = |&a: &usize, &b: &usize| run[a].1.total_cmp(&run[b].1);
        let lowest = (0..run.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..run.len()).max_by(by_height).unwrap_or(0);
        let mut chosen = [0, lowest, highest, run.len() - 1].to_vec();
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|i| run[i]));
    }
    kept
}

/// One panel of a plot.
#[derive(Debug)]
pub(super) struct Chart {
    pub title: String,
    pub x_title: String,
    pub y_title: String,
    pub x: Axis,
    pub y: Axis,
    pub curves: Vec<Curve>,
    /// A value of x to mark, with its label in the legend.
    pub mark: Option<(f64, String)>,
    /// Whether the panel has a legend, if it has several curves.
    pub legend: bool,
}

impl Chart {
    /// Creates a panel that shows all of `curves`.
    ///
    /// # Errors
    /// Fails if no point has finite coordinates.
    pub fn new(title: &str, x_title: &str, y_title: &str, curves: Vec<Curve>) -> Result<Self> {
        let points = || curves.iter().flat_map(Curve::extents);
        let nothing = "no finite value, expected at least one";
        let x = extent(points().map(|p| p.0)).context(nothing)?;
        let y = extent(points().map(|p| p.1)).context(nothing)?;
        let counted = points().all(|p| p.0.fract() == 0.0);
        Ok(Chart {
            title: title.to_owned(),
            x_title: x_title.to_owned(),
            y_title: y_title.to_owned(),
            x: Axis::linear(x, counted),
            y: Axis::linear(y, false),
            curves,
            mark: None,
            legend: true,
        })
    }

    /// Returns the plots and the layout of the panel for kuva, in `width` by `height` pixels.
    pub fn panel(&self, width: f64, height: f64) -> (Vec<Plot>, Layout) {
        let range = |axis: &Axis| (axis.low, axis.high);
        let mut layout = Layout::new(range(&self.x), range(&self.y))
            .with_width(width)
            .with_height(height)
            .with_title_size(20)
            .with_label_size(16)
            .with_tick_size(14)
            .with_body_size(14)
            .with_x_axis_min(self.x.low)
            .with_x_axis_max(self.x.high)
            .with_y_axis_min(self.y.low)
            .with_y_axis_max(self.y.high)
            .with_y_tick_step(1.0)
            .with_y_tick_format(self.y.format())
            .with_grid_line_width(0.7)
            .with_theme(theme());
        layout = match self.x.calendar() {
            Some(calendar) => layout.with_x_datetime(calendar),
            None => layout.with_x_tick_step(1.0).with_x_tick_format(self.x.format()),
        };
        let written = |text: &String| (!text.is_empty()).then(|| text.clone());
        layout.title = written(&self.title);
        layout.x_label = written(&self.x_title);
        layout.y_label = written(&self.y_title);
        let mut legend: Vec<_> = self.curves.iter().flat_map(Curve::legend).collect();
        if let Some((place, label)) = &self.mark {
            let dashes = "5 4";
            let line = ReferenceLine::vertical(self.x.place(*place)).with_color(INK).with_dasharray(dashes);
            layout = layout.with_reference_line(line);
            legend.push(LegendEntry {
                label: label.clone(),
                color: INK.to_owned(),
                shape: LegendShape::Line,
                dasharray: Some(dashes.to_owned()),
            });
        }
        if self.legend && legend.len() > 1 {
            layout = layout
                .with_legend_entries(legend)
                .with_legend_position(LegendPosition::OutsideBottomColumns)
                .with_legend_box(false);
        }
        let areas = self.curves.iter().flat_map(|curve| &curve.areas);
        let areas = areas.flat_map(|area| area.plots(&self.x, &self.y));
        let lines = self.curves.iter().flat_map(|curve| curve.plots(&self.x, &self.y));
        let plots = areas.chain(lines).collect();
        (plots, layout)
    }
}

fn theme() -> Theme {
    Theme {
        axis_color: "#888888".to_owned(),
        grid_color: "#e4e4e4".to_owned(),
        tick_color: "#888888".to_owned(),
        text_color: "#222222".to_owned(),
        ..Theme::light()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curve_with_nonfinite_values_has_gaps() {
        let values = [1.0, f64::NAN, 2.0, 3.0, f64::INFINITY, f64::NAN];
        let curve = Curve::new("c", COLORS[0], values.iter().enumerate().map(|(i, &y)| (i as f64, y)));
        assert_eq!(curve.pieces, [vec![(0.0, 1.0)], vec![(2.0, 2.0), (3.0, 3.0)]]);
    }

    #[test]
    fn thinned_curve_keeps_every_spike_and_both_ends() {
        let axis = Axis::linear((0.0, 99_999.0), true);
        let mut points: Vec<_> = (0..100_000).map(|i| (axis.place(f64::from(i)), 0.0)).collect();
        (points[12_345].1, points[77_777].1) = (5.0, -5.0);
        let kept = thinned(&points, &axis);
        assert!(kept.len() <= 4 * 1000 && kept.is_sorted_by_key(|p| p.0), "{}", kept.len());
        for i in [0, 12_345, 77_777, 99_999] {
            assert!(kept.contains(&points[i]), "point {i} was lost");
        }
        assert_eq!(thinned(&points[..500], &axis).len(), 500);
    }

    #[test]
    fn clamp_of_a_far_value_is_outside_of_the_panel_and_small() {
        let axis = Axis::linear((0.0, 1.0), false);
        let far = clamp(&axis, 1e300);
        assert!(far > axis.high && far < 1e6, "{far}");
        assert_eq!(clamp(&axis, axis.place(0.5)), axis.place(0.5));
    }
}
