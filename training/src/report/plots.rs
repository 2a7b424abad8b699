//! Plots of the metrics and the predictions of a run, each as `STEM.svg` and `STEM.png`.
//!
//! All functions take plain numbers, so other programs can use them too. A value that is NaN or infinite is a gap in
//! its line. If no value is finite, the function fails and writes no file. The PNG needs no fonts of the system; the
//! SVG uses the fonts of its viewer.

mod axis;
mod chart;
mod forecast;
mod metrics;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use kuva::backend::{raster::RasterBackend, svg::SvgBackend};
use kuva::render::figure::Figure;
use kuva::render::render::Scene;

use axis::{Axis, extent, plottable};
use chart::{COLORS, Chart, Curve};
pub use forecast::{Band, ForecastColumn, Path as ForecastPath, forecast};
pub use metrics::{Measured, metrics};
use text_recognizer::util::files::write_atomic;

/// The width of a plot of one panel, in pixels of the SVG. The PNG has twice as many pixels, for sharp text.
const WIDTH: f64 = 1000.0;
/// The height of a plot of one panel, in pixels of the SVG.
const HEIGHT: f64 = 600.0;

/// The texts around a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlotLabels<'a> {
    /// The title above the plot.
    pub title: &'a str,
    /// The title of the x axis.
    pub x: &'a str,
    /// Whether x values are dates, in seconds since the start of 1970.
    pub x_is_date: bool,
    /// The title of the y axis.
    pub y: &'a str,
}

/// The most columns that a plot shows.
const PANELS: usize = 12;

/// Plots each of `columns` (a name, and one value per value of `x`) as a line over `x`. Each column has its own panel,
/// because the ranges of columns may differ. Plots at most 12 columns.
///
/// # Errors
/// Fails if a column is not as long as `x`, a column has no finite value, or the folder cannot be written to.
pub fn series(stem: &Path, labels: &PlotLabels, x: &[f64], columns: &[(String, Vec<f64>)]) -> Result<()> {
    panels(stem, labels, x, columns, |(name, values)| Ok((name, vec![curve(name, COLORS[0], x, values)?])))
}

/// Plots one panel per column, one below the other. `curves` returns the name and the lines of a column.
fn panels<C>(
    stem: &Path,
    labels: &PlotLabels,
    x: &[f64],
    columns: &[C],
    curves: impl Fn(&C) -> Result<(&String, Vec<Curve>)>,
) -> Result<()> {
    let plot = || {
        let mut charts = Vec::new();
        for column in columns.iter().take(PANELS) {
            let (name, curves) = curves(column)?;
            let mut chart = Chart::new(name, "", labels.y, curves)?;
            chart.legend = false;
            if labels.x_is_date {
                chart.x =
                    Axis::dates(extent(x.iter().copied()).context("no finite date, expected at least one")?);
            }
            charts.push(chart);
        }
        let last = charts.last_mut().context("no column, expected at least one")?;
        (last.x_title, last.legend) = (labels.x.to_owned(), true);
        if columns.len() > PANELS {
            last.title += &format!(" (and {} more columns without a plot)", columns.len() - PANELS);
        }
        match &mut charts[..] {
            [only] => {
                only.title = labels.title.to_owned();
                grid(&charts, 1, (WIDTH, HEIGHT), stem)
            }
            _ => grid(&charts, 1, (WIDTH, 0.5 * HEIGHT), stem),
        }
    };
    plot().with_context(|| format!("cannot plot {}", stem.display()))
}

/// Plots the losses of the learning-rate finder over its learning rates (logarithmic axis), with a dashed line at
/// `suggestion`.
///
/// The y axis goes from the lowest loss to a little above the loss before the descent. If training diverged, the line
/// leaves the plot at the top.
///
/// # Errors
/// Fails if the lengths differ, no loss at a learning rate above 0 is finite, or the folder cannot be written to.
pub fn lr_find(stem: &Path, lrs: &[f64], losses: &[f64], suggestion: Option<f64>) -> Result<()> {
    let plot = || {
        let positive = |lr: f64| plottable(lr).filter(|&lr| lr > 0.0);
        let placed: Vec<_> = lrs.iter().map(|&lr| positive(lr).unwrap_or(f64::NAN)).collect();
        let curve = curve("loss", COLORS[0], &placed, losses)?;
        let suggestion = suggestion.and_then(positive);
        let (swept, shown): (Vec<_>, Vec<_>) = curve.points().unzip();
        let nothing = "no finite loss at a learning rate above 0, expected at least one";
        let losses = readable(&shown).context(nothing)?;
        let rates = extent(swept.into_iter().chain(suggestion)).context(nothing)?;
        let mut chart = Chart::new("Learning-rate finder", "learning rate", "loss", vec![curve])?;
        chart.x = Axis::log(rates);
        chart.y = Axis::linear(losses, false);
        chart.mark = suggestion.map(|lr| (lr, format!("suggested: {}", rate(lr))));
        grid(&[chart], 1, (WIDTH, HEIGHT), stem)
    };
    plot().with_context(|| format!("cannot plot {}", stem.display()))
}

/// Returns the range of the y axis: from the lowest of `losses` to the level before the descent plus half of the
/// descent. With this range, the descent is visible even if the loss later grows by a factor of a million.
fn readable(losses: &[f64]) -> Option<(f64, f64)> {
    let (least, greatest) = extent(losses.iter().copied())?;
    let valley = losses.iter().position(|&loss| loss == least)?;
    // The level is the 90 % quantile, so that a single outlier does not set the range. Without a descent, it is the
    // median.
    let (mut before, tenths) = if valley > 0 { (losses[..valley].to_vec(), 9) } else { (losses.to_vec(), 5) };
    before.sort_unstable_by(f64::total_cmp);
    let level = before[before.len() * tenths / 10];
    let top = least + 1.5 * (level - least);
    Some((least, if top > least { top.min(greatest) } else { greatest }))
}

/// Returns a learning rate as text for the command line, with at most three digits: `7.94e-6`.
fn rate(lr: f64) -> String {
    let text = format!("{lr:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// Returns the line of `y` over `x`.
///
/// # Errors
/// Fails if the lengths differ.
fn curve(name: &str, color: &'static str, x: &[f64], y: &[f64]) -> Result<Curve> {
    ensure!(
        x.len() == y.len(),
        "{name} has {} values for {} points on the x axis, expected one per point; try NaN for missing values",
        y.len(),
        x.len()
    );
    Ok(Curve::new(name, color, x.iter().copied().zip(y.iter().copied())))
}

/// Plots the charts in rows of `columns` charts. `width` and `height` are those of one chart, in pixels.
fn grid(charts: &[Chart], columns: usize, (width, height): (f64, f64), stem: &Path) -> Result<()> {
    let (plots, layouts): (Vec<_>, Vec<_>) = charts.iter().map(|chart| chart.panel(width, height)).unzip();
    let figure = Figure::new(charts.len().div_ceil(columns), columns)
        .with_structure((0..charts.len()).map(|i| vec![i]).collect())
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(width, height);
    save(stem, &figure.render())
}

/// Writes the PNG and the SVG, each with an atomic rename. Writes neither if one of them cannot be rendered.
fn save(stem: &Path, scene: &Scene) -> Result<()> {
    let png = RasterBackend::new()
        .render_scene(scene)
        .map_err(|error| anyhow!("cannot render the PNG: {error}"))?;
    let svg = SvgBackend::new().render_scene(scene);
    // Write the larger file first: then a full disk fails before any file is replaced.
    write_atomic(with_suffix(stem, ".png"), &png)?;
    Ok(write_atomic(with_suffix(stem, ".svg"), svg.as_bytes())?)
}

/// Appends `suffix` to `stem`. `Path::with_extension` would instead replace `.001` in `lr_0.001`.
fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LABELS: PlotLabels = PlotLabels { title: "A title", x: "across", x_is_date: false, y: "up" };

    fn column(values: &[f64]) -> Vec<(String, Vec<f64>)> {
        vec![("a <&> b".to_owned(), values.to_vec())]
    }

    fn forecasts(actual: &[f64], forecast: &[f64]) -> Vec<ForecastColumn> {
        let points = forecast.iter().zip(1..).map(|(&y, x)| (f64::from(x), y)).collect();
        let path = ForecastPath { points, bands: Vec::new() };
        vec![ForecastColumn { name: "v".into(), actual: actual.to_vec(), paths: vec![path] }]
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Returns the width and the height of a PNG, from its header.
    fn size(png: &[u8]) -> (u32, u32) {
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert!(png.ends_with(b"IEND\xaeB`\x82"));
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    #[test]
    fn series_with_a_dot_in_the_stem_writes_png_and_svg() {
        let folder = tempfile::tempdir().unwrap();
        let x: Vec<_> = (0..100).map(f64::from).collect();
        let y: Vec<_> = x.iter().map(|x| (x / 9.0).sin()).collect();
        let stem = folder.path().join("lr_0.001");
        series(&stem, &LABELS, &x, &column(&y)).unwrap();
        assert_eq!(names(folder.path()), ["lr_0.001.png", "lr_0.001.svg"]);
        let png = fs::read(folder.path().join("lr_0.001.png")).unwrap();
        assert_eq!(size(&png), (2040, 1240));
        assert!(png.len() > 10_000, "{} bytes", png.len());
        let svg = fs::read_to_string(folder.path().join("lr_0.001.svg")).unwrap();
        for text in ["A title", "across", "up", COLORS[0], ">80<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn series_of_two_columns_over_dates_has_two_panels_and_date_labels() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("plot");
        let labels = PlotLabels { x_is_date: true, ..LABELS };
        // One value per hour, from the start of 2024.
        let x: Vec<_> = (0..100).map(|hour| 1_704_067_200.0 + 3600.0 * f64::from(hour)).collect();
        let two = [column(&x), vec![("other".to_owned(), x.clone())]].concat();
        series(&stem, &labels, &x, &two).unwrap();
        let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
        for text in ["a &lt;&amp;&gt; b", "other", ">2024-01-03<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        series(&stem, &labels, &x, &vec![two; 10].concat()).unwrap();
        let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
        assert!(svg.contains("other (and 8 more columns without a plot)"));
        assert!(series(&stem, &labels, &[], &column(&[])).is_err());
    }

    #[test]
    fn plots_of_extreme_values_contain_no_nan() {
        let folder = tempfile::tempdir().unwrap();
        let nan = f64::NAN;
        let cases: [&[f64]; 9] = [
            &[5.0],
            &[0.0, 0.0],
            &[1e12, 1e12, 1e12],
            &[1e-12, 3e-12],
            &[-1e12, 1e-12, 1e12],
            &[nan, 1.0, nan, 2.0, nan],
            &[1.0, f64::INFINITY, f64::NEG_INFINITY, 2.0],
            &[f64::MAX, f64::MIN, f64::MIN_POSITIVE],
            &[1e299, -1e299],
        ];
        for (i, values) in cases.iter().enumerate() {
            let stem = folder.path().join(i.to_string());
            let x: Vec<_> = (1..=values.len()).map(|i| i as f64).collect();
            series(&stem, &LABELS, &x, &column(values)).unwrap();
            series(&stem, &LABELS, values, &column(values)).unwrap();
            forecast(&stem, &LABELS, &x, &forecasts(values, values)).unwrap();
            lr_find(&stem, &x, values, Some(2.0)).unwrap();
            let values =
                column(values).into_iter().flat_map(|(n, v)| v.into_iter().map(move |v| (n.clone(), v)));
            let values: Vec<_> = values.collect();
            metrics(&stem, &[Measured { epoch: 1.0, values: &values }]).unwrap();
            let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
        }
    }

    #[test]
    fn plots_without_a_finite_value_fail_and_keep_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("plot");
        let nan = [f64::NAN, f64::INFINITY];
        let plot_all = |values: &[f64]| {
            let record: Vec<_> = values.iter().map(|&v| ("val_loss".to_owned(), v)).collect();
            [
                series(&stem, &LABELS, values, &column(values)),
                forecast(&stem, &LABELS, values, &forecasts(values, values)),
                lr_find(&stem, values, values, Some(1e-3)),
                metrics(&stem, &[Measured { epoch: 1.0, values: &record }]),
            ]
        };
        plot_all(&[1.0, 2.0]).into_iter().for_each(Result::unwrap);
        let before = fs::read(with_suffix(&stem, ".png")).unwrap();
        for result in plot_all(&[]).into_iter().chain(plot_all(&nan)) {
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains("plot") && error.contains("no "), "{error}");
        }
        assert!(metrics(&stem, &[]).is_err());
        assert!(series(&stem, &LABELS, &[1.0], &[]).is_err());
        assert!(lr_find(&stem, &[0.0, -1.0], &[1.0, 2.0], None).is_err());
        assert_eq!(fs::read(with_suffix(&stem, ".png")).unwrap(), before);
        assert_eq!(names(folder.path()), ["plot.png", "plot.svg"]);
    }

    #[test]
    fn series_to_an_unwritable_path_writes_neither_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plot.png")).unwrap();
        let error = series(&folder.path().join("plot"), &LABELS, &[1.0], &column(&[1.0])).unwrap_err();
        assert!(format!("{error:#}").contains("plot.png"), "{error:#}");
        assert_eq!(names(folder.path()), ["plot.png"]);
        assert!(series(&folder.path().join("none/plot"), &LABELS, &[1.0], &column(&[1.0])).is_err());
    }

    #[test]
    fn forecast_of_100000_points_is_a_small_svg() {
        let folder = tempfile::tempdir().unwrap();
        let times: Vec<_> = (0..100_000).map(f64::from).collect();
        let values: Vec<_> = times.iter().map(|t| (t / 5e3).sin() + (t * 12.9898).sin()).collect();
        let stem = folder.path().join("f");
        forecast(&stem, &LABELS, &times, &forecasts(&values, &values)).unwrap();
        let svg = fs::metadata(with_suffix(&stem, ".svg")).unwrap().len();
        assert!((20_000..300_000).contains(&svg), "{svg} bytes");
    }

    #[test]
    fn readable_range_of_diverging_losses_shows_the_descent() {
        let mut losses = vec![30.0; 50];
        losses.extend((0..20).map(|i| 30.0 - f64::from(i)));
        losses.extend((0..20).map(|i| 11.0 * 10f64.powi(i)));
        assert_eq!(readable(&losses), Some((11.0, 39.5)));
        // A curve that does not diverge is shown completely.
        assert_eq!(readable(&[3.0, 2.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(readable(&[1.0, 1.0]), Some((1.0, 1.0)));
        assert_eq!(readable(&[1.0, 2.0, 1e9]), Some((1.0, 2.5)));
        assert_eq!(readable(&[]), None);
    }

    #[test]
    fn lr_find_with_a_suggestion_marks_it() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("lr_find");
        let lrs: Vec<_> = (0..100).map(|i| 1e-8 * 10f64.powf(f64::from(i) / 20.0)).collect();
        let losses: Vec<_> =
            lrs.iter().map(|lr| if *lr < 1e-4 { 3.0 - lr * 1e4 } else { f64::NAN }).collect();
        lr_find(&stem, &lrs, &losses, Some(7.9432e-6)).unwrap();
        let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
        for text in ["suggested: 7.94e-6", ">1e-8<", ">1e-5<", "learning rate"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        lr_find(&stem, &lrs, &losses, None).unwrap();
        assert!(!fs::read_to_string(with_suffix(&stem, ".svg")).unwrap().contains("suggested"));
        assert_eq!([rate(1e-3), rate(3e-10), rate(0.125), rate(20.0)], ["1e-3", "3e-10", "1.25e-1", "2e1"]);
    }
}
