//! Plots of what a run measured and predicted, each as `STEM.svg` and `STEM.png`.
//!
//! Every function takes plain numbers, so that a program of your own can draw with them too. A value that is not a
//! number or infinite is a gap in its line; when nothing at all is left to draw, that is an error, and no file is
//! written. The PNG needs no fonts of the system; the SVG is shown in the viewer's.

mod axis;
mod chart;
mod metrics;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use kuva::backend::{raster::RasterBackend, svg::SvgBackend};
use kuva::render::figure::Figure;
use kuva::render::render::Scene;

use axis::{Axis, drawable, extent};
use chart::{COLOURS, Chart, Curve};
pub use metrics::{Measured, metrics};
use text_recognizer::util::files::write_atomic;

/// Width of a plot of one panel, in pixels of the SVG; the PNG has twice as many, for sharp text.
const WIDTH: f64 = 1000.0;
/// Height of a plot of one panel, in pixels.
const HEIGHT: f64 = 600.0;

/// What is written around a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlotLabels<'a> {
    /// Above it.
    pub title: &'a str,
    /// What the x axis measures.
    pub x: &'a str,
    /// Whether that is dates, in seconds since 1970 began.
    pub x_is_date: bool,
    /// What the y axis measures.
    pub y: &'a str,
}

/// With more columns than this, the first ones are drawn.
const PANELS: usize = 12;

/// Draws each of `columns` (a name, and a value for each of `x`) as a line over `x`, in a panel of its own where there are
/// several: their values may be of any size.
///
/// # Errors
/// When a column is not as long as `x`, no value can be drawn, or the folder cannot be written to.
pub fn series(stem: &Path, labels: &PlotLabels, x: &[f64], columns: &[(String, Vec<f64>)]) -> Result<()> {
    panels(stem, labels, x, columns, |(name, values)| Ok((name, vec![curve(name, COLOURS[0], x, values)?])))
}

/// What came and what was forecast, of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastColumn {
    /// The column's name.
    pub name: String,
    /// A value for each place on the x axis.
    pub actual: Vec<f64>,
    /// As `actual`.
    pub forecast: Vec<f64>,
}

/// Draws what was forecast over what came, in panels as [`series`] does.
///
/// # Errors
/// As [`series`].
pub fn forecast(stem: &Path, labels: &PlotLabels, x: &[f64], columns: &[ForecastColumn]) -> Result<()> {
    panels(stem, labels, x, columns, |ForecastColumn { name, actual, forecast }| {
        let mut actual = curve("actual", COLOURS[0], x, actual)?;
        // What was measured is noisy, and lies behind.
        actual.width = 1.2;
        Ok((name, vec![actual, curve("forecast", COLOURS[1], x, forecast)?]))
    })
}

/// Draws a panel for each of `columns`, below each other; `curves` gives a column's name and what is drawn of it.
fn panels<C>(
    stem: &Path,
    labels: &PlotLabels,
    x: &[f64],
    columns: &[C],
    curves: impl Fn(&C) -> Result<(&String, Vec<Curve>)>,
) -> Result<()> {
    let draw = || {
        let mut charts = Vec::new();
        for column in columns.iter().take(PANELS) {
            let (name, curves) = curves(column)?;
            let mut chart = Chart::new(name, "", labels.y, curves)?;
            chart.legend = false;
            if labels.x_is_date {
                chart.x = Axis::dates(extent(x.iter().copied()).context("there is no date")?);
            }
            charts.push(chart);
        }
        let last = charts.last_mut().context("there is no column to draw")?;
        (last.x_title, last.legend) = (labels.x.to_owned(), true);
        if columns.len() > PANELS {
            last.title += &format!(" (and {} more columns, which are not drawn)", columns.len() - PANELS);
        }
        match &mut charts[..] {
            [only] => {
                only.title = labels.title.to_owned();
                grid(&charts, 1, (WIDTH, HEIGHT), stem)
            }
            _ => grid(&charts, 1, (WIDTH, 0.5 * HEIGHT), stem),
        }
    };
    draw().with_context(|| format!("drawing {}", stem.display()))
}

/// Draws the losses of a sweep over learning rates (logarithmic axis), with a dashed line at `suggestion`.
///
/// The y axis shows the part of the curve one reads a learning rate off, from the least loss to somewhat above the
/// level before it; where training blew up, the line leaves the plot at the top.
///
/// # Errors
/// When the lengths differ, no loss at a learning rate above 0 can be drawn, or the folder cannot be written to.
pub fn lr_find(stem: &Path, lrs: &[f64], losses: &[f64], suggestion: Option<f64>) -> Result<()> {
    let draw = || {
        let positive = |lr: f64| drawable(lr).filter(|&lr| lr > 0.0);
        let placed: Vec<_> = lrs.iter().map(|&lr| positive(lr).unwrap_or(f64::NAN)).collect();
        let curve = curve("loss", COLOURS[0], &placed, losses)?;
        let suggestion = suggestion.and_then(positive);
        let (swept, shown): (Vec<_>, Vec<_>) = curve.points().unzip();
        let nothing = "no finite loss at a learning rate above 0";
        let losses = readable(&shown).context(nothing)?;
        let rates = extent(swept.into_iter().chain(suggestion)).context(nothing)?;
        let mut chart = Chart::new("Learning-rate finder", "learning rate", "loss", vec![curve])?;
        chart.x = Axis::log(rates);
        chart.y = Axis::linear(losses, false);
        chart.mark = suggestion.map(|lr| (lr, format!("suggested: {}", rate(lr))));
        grid(&[chart], 1, (WIDTH, HEIGHT), stem)
    };
    draw().with_context(|| format!("drawing {}", stem.display()))
}

/// From the least of `losses` to above the level before it, by half of that descent: a curve that blows up by a factor
/// of a million keeps its valley.
fn readable(losses: &[f64]) -> Option<(f64, f64)> {
    let (least, greatest) = extent(losses.iter().copied())?;
    let valley = losses.iter().position(|&loss| loss == least)?;
    // A quantile, as a single wild batch must not set the range. Without a descent the median of all is the level.
    let (mut before, tenths) = if valley > 0 { (losses[..valley].to_vec(), 9) } else { (losses.to_vec(), 5) };
    before.sort_unstable_by(f64::total_cmp);
    let level = before[before.len() * tenths / 10];
    let top = least + 1.5 * (level - least);
    Some((least, if top > least { top.min(greatest) } else { greatest }))
}

/// A learning rate as one types it, to three digits.
fn rate(lr: f64) -> String {
    let text = format!("{lr:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn curve(name: &str, colour: &'static str, x: &[f64], y: &[f64]) -> Result<Curve> {
    ensure!(
        x.len() == y.len(),
        "{name} has {} values for {} places on the x axis; give one for each, NaN where there is none",
        y.len(),
        x.len()
    );
    Ok(Curve::new(name, colour, x.iter().copied().zip(y.iter().copied())))
}

/// Draws the charts in rows of `columns`, each of that width and height.
fn grid(charts: &[Chart], columns: usize, (width, height): (f64, f64), stem: &Path) -> Result<()> {
    let (plots, layouts): (Vec<_>, Vec<_>) = charts.iter().map(|chart| chart.panel(width, height)).unzip();
    let figure = Figure::new(charts.len().div_ceil(columns), columns)
        .with_structure((0..charts.len()).map(|i| vec![i]).collect())
        .with_plots(plots)
        .with_layouts(layouts)
        .with_cell_size(width, height);
    save(stem, &figure.render())
}

/// Writes both pictures, each whole or not at all; none when one of them cannot be drawn.
fn save(stem: &Path, scene: &Scene) -> Result<()> {
    let png =
        RasterBackend::new().render_scene(scene).map_err(|error| anyhow!("rendering a PNG: {error}"))?;
    let svg = SvgBackend::new().render_scene(scene);
    // The larger one first: a full disk shows before anything was replaced.
    write_atomic(with_suffix(stem, ".png"), &png)?;
    Ok(write_atomic(with_suffix(stem, ".svg"), svg.as_bytes())?)
}

/// Appends, where `Path::with_extension` would cut `lr_0.001` at its point.
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
        vec![ForecastColumn { name: "v".into(), actual: actual.to_vec(), forecast: forecast.to_vec() }]
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Width, height of a PNG, from its header.
    fn size(png: &[u8]) -> (u32, u32) {
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert!(png.ends_with(b"IEND\xaeB`\x82"));
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    }

    #[test]
    fn both_pictures_are_written_under_the_name_as_it_is() {
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
        for text in ["A title", "across", "up", COLOURS[0], ">80<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
    }

    #[test]
    fn columns_have_panels_and_dates_are_written_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("plot");
        let labels = PlotLabels { x_is_date: true, ..LABELS };
        // Hours of 2024's first days.
        let x: Vec<_> = (0..100).map(|hour| 1_704_067_200.0 + 3600.0 * f64::from(hour)).collect();
        let two = [column(&x), vec![("other".to_owned(), x.clone())]].concat();
        series(&stem, &labels, &x, &two).unwrap();
        let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
        for text in ["a &lt;&amp;&gt; b", "other", ">2024-01-03<"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        series(&stem, &labels, &x, &vec![two; 10].concat()).unwrap();
        let svg = fs::read_to_string(with_suffix(&stem, ".svg")).unwrap();
        assert!(svg.contains("other (and 8 more columns, which are not drawn)"));
        assert!(series(&stem, &labels, &[], &column(&[])).is_err());
    }

    #[test]
    fn odd_data_is_drawn() {
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
    fn nothing_to_draw_is_an_error_that_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("plot");
        let nan = [f64::NAN, f64::INFINITY];
        let draw = |values: &[f64]| {
            let record: Vec<_> = values.iter().map(|&v| ("val_loss".to_owned(), v)).collect();
            [
                series(&stem, &LABELS, values, &column(values)),
                forecast(&stem, &LABELS, values, &forecasts(values, values)),
                lr_find(&stem, values, values, Some(1e-3)),
                metrics(&stem, &[Measured { epoch: 1.0, values: &record }]),
            ]
        };
        draw(&[1.0, 2.0]).into_iter().for_each(Result::unwrap);
        let before = fs::read(with_suffix(&stem, ".png")).unwrap();
        for result in draw(&[]).into_iter().chain(draw(&nan)) {
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
    fn lengths_that_differ_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let result =
            forecast(&folder.path().join("f"), &LABELS, &[1.0, 2.0], &forecasts(&[1.0, 2.0], &[1.0]));
        let error = format!("{:#}", result.unwrap_err());
        assert!(error.contains("forecast has 1 values for 2 places"), "{error}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_place_that_cannot_be_written_to_gets_no_half_of_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plot.png")).unwrap();
        let error = series(&folder.path().join("plot"), &LABELS, &[1.0], &column(&[1.0])).unwrap_err();
        assert!(format!("{error:#}").contains("plot.png"), "{error:#}");
        assert_eq!(names(folder.path()), ["plot.png"]);
        assert!(series(&folder.path().join("none/plot"), &LABELS, &[1.0], &column(&[1.0])).is_err());
    }

    #[test]
    fn a_hundred_thousand_points_stay_a_small_picture() {
        let folder = tempfile::tempdir().unwrap();
        let times: Vec<_> = (0..100_000).map(f64::from).collect();
        let values: Vec<_> = times.iter().map(|t| (t / 5e3).sin() + (t * 12.9898).sin()).collect();
        let stem = folder.path().join("f");
        forecast(&stem, &LABELS, &times, &forecasts(&values, &values)).unwrap();
        let svg = fs::metadata(with_suffix(&stem, ".svg")).unwrap().len();
        assert!((20_000..300_000).contains(&svg), "{svg} bytes");
    }

    #[test]
    fn a_sweep_that_blows_up_keeps_its_valley() {
        let mut losses = vec![30.0; 50];
        losses.extend((0..20).map(|i| 30.0 - f64::from(i)));
        losses.extend((0..20).map(|i| 11.0 * 10f64.powi(i)));
        assert_eq!(readable(&losses), Some((11.0, 39.5)));
        // What does not blow up is shown whole.
        assert_eq!(readable(&[3.0, 2.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(readable(&[1.0, 1.0]), Some((1.0, 1.0)));
        assert_eq!(readable(&[1.0, 2.0, 1e9]), Some((1.0, 2.5)));
        assert_eq!(readable(&[]), None);
    }

    #[test]
    fn a_sweep_marks_the_suggestion() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("sweep");
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
