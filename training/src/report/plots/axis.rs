//! Conversions from data to tick units, and from tick units to labels.
//!
//! The crate kuva gets only axes with a distance of 1 between ticks, so it treats losses of 1e-12 and of 1e12 alike.
//! This module writes the labels from whole numbers, without the rounding errors of floats.

use std::sync::Arc;

use chrono::DateTime;
use kuva::render::datetime::{DateTimeAxis, DateUnit};
use kuva::render::layout::TickFormat;

/// The approximate number of ticks: enough to read a value, and few enough that labels do not overlap.
const TICKS: f64 = 8.0;
/// The margin between the data and the frame, as a share of the data's range.
const MARGIN: f64 = 0.03;

/// One axis: its range in tick units, and the size of a tick unit.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// The start of the axis, in tick units.
    pub low: f64,
    /// The end of the axis, in tick units.
    pub high: f64,
    scale: Scale,
}

#[derive(Debug, Clone, Copy)]
enum Scale {
    /// A tick unit is `digit * 10^exponent`. Every label ends with the power of ten `shared`, if there is one.
    Linear { digit: i32, exponent: i32, shared: Option<i32> },
    /// A tick unit is this many powers of ten.
    Log { decades: i32 },
    /// A tick unit is a second since the start of 1970. Here kuva finds the ticks, because dates are not evenly spaced.
    Dates { unit: &'static CalendarUnit, step: usize },
    /// A tick unit is this many seconds, and the labels are dates. For dates so near the ends of the calendar that kuva
    /// would look for ticks beyond them.
    Even { seconds: f64, format: &'static str },
}

/// Seconds per day.
const DAY: f64 = 86_400.0;

/// A possible distance between the ticks of dates.
#[derive(Debug)]
struct CalendarUnit {
    unit: fn() -> DateUnit,
    /// The approximate length in seconds.
    seconds: f64,
    /// The possible numbers of units per tick.
    steps: &'static [usize],
    /// The format of the labels, as in `strftime`.
    format: &'static str,
}

/// All units, from short to long.
static CALENDAR: [CalendarUnit; 7] = [
    CalendarUnit { unit: || DateUnit::Second, seconds: 1.0, steps: &[1, 5, 15, 30], format: "%H:%M:%S" },
    CalendarUnit { unit: || DateUnit::Minute, seconds: 60.0, steps: &[1, 5, 15, 30], format: "%H:%M" },
    CalendarUnit { unit: || DateUnit::Hour, seconds: 3600.0, steps: &[1, 3, 6, 12], format: "%m-%d %H:%M" },
    CalendarUnit { unit: || DateUnit::Day, seconds: DAY, steps: &[1, 2], format: "%Y-%m-%d" },
    CalendarUnit { unit: || DateUnit::Week, seconds: 7.0 * DAY, steps: &[1, 2], format: "%Y-%m-%d" },
    CalendarUnit { unit: || DateUnit::Month, seconds: 30.4 * DAY, steps: &[1, 3, 6], format: "%Y-%m" },
    CalendarUnit { unit: || DateUnit::Year, seconds: 365.25 * DAY, steps: YEARS, format: "%Y" },
];
const YEARS: &[usize] =
    &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];

/// Returns `value` if it can be plotted: finite, and small enough (below 1e300) that a range of such values does not
/// overflow. Values below 1e-300 become 0.
pub(super) fn plottable(value: f64) -> Option<f64> {
    const LIMIT: f64 = 1e300;
    (value.abs() < LIMIT).then_some(if value.abs() < LIMIT.recip() { 0.0 } else { value })
}

/// Returns the minimum and the maximum of the values that can be plotted, or `None` if there are none.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter_map(plottable).fold(None, |range, v| {
        Some(range.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v))))
    })
}

impl Axis {
    /// Creates a linear axis over `low ..= high`, with a margin at both ends. Both limits must be [`plottable`]. If
    /// `whole`, ticks are only at whole numbers.
    pub fn linear((low, high): (f64, f64), whole: bool) -> Self {
        let size = low.abs().max(high.abs());
        // A constant has a range of 0 or of rounding errors, so its axis needs another range.
        let (low, high) = match high - low {
            span if span > size * 1e-9 => (low - MARGIN * span, high + MARGIN * span),
            _ if size == 0.0 => (-1.0, 1.0),
            _ => (low - 0.05 * size, high + 0.05 * size),
        };
        let least = (high - low) / TICKS;
        let mut exponent = least.log10().floor() as i32;
        let fits = |digit: &i32| f64::from(*digit) * power(exponent) >= least;
        let digit = [1, 2, 5].into_iter().find(fits).unwrap_or_else(|| {
            exponent += 1;
            1
        });
        let (digit, exponent) = if whole && exponent < 0 { (1, 0) } else { (digit, exponent) };
        let size = low.abs().max(high.abs());
        let shared = (!(1e-2..1e6).contains(&size)).then(|| size.log10().floor() as i32);
        let scale = Scale::Linear { digit, exponent, shared };
        let place = |value| scale.place(value);
        Axis { low: place(low), high: place(high), scale }
    }

    /// Creates a logarithmic axis over `low ..= high` that contains at least two powers of ten. Both limits must be
    /// [`plottable`] and above 0.
    pub fn log((low, high): (f64, f64)) -> Self {
        let (mut low, mut high) = (low.log10(), high.log10());
        if high - low < 2.0 {
            (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
        }
        let decades = ((high - low) / 12.0).ceil();
        let margin = MARGIN * (high - low);
        Axis {
            low: (low - margin) / decades,
            high: (high + margin) / decades,
            scale: Scale::Log { decades: decades as i32 },
        }
    }

    /// Creates an axis over dates, in seconds since the start of 1970.
    pub fn dates((low, high): (f64, f64)) -> Self {
        let margin = if high > low { MARGIN * (high - low) } else { DAY };
        let (low, high) = (low - margin, high + margin);
        let few = |unit: &CalendarUnit, step: usize| (high - low) / (unit.seconds * step as f64) <= TICKS;
        let mut steps = CALENDAR.iter().flat_map(|unit| unit.steps.iter().map(move |&step| (unit, step)));
        let (unit, step) = steps.find(|(unit, step)| few(unit, *step)).unwrap_or((&CALENDAR[6], 100_000));
        let seconds = unit.seconds * step as f64;
        // kuva looks for ticks up to two steps before and after the axis.
        let in_calendar = |time: f64| DateTime::from_timestamp(time as i64, 0).is_some();
        if in_calendar(low - 3.0 * seconds) && in_calendar(high + 3.0 * seconds) {
            return Axis { low, high, scale: Scale::Dates { unit, step } };
        }
        let format = if unit.seconds < DAY { unit.format } else { "%Y-%m-%d" };
        let scale = Scale::Even { seconds, format };
        Axis { low: scale.place(low), high: scale.place(high), scale }
    }

    /// Returns the ticks of an axis over dates, or `None` for other axes.
    pub fn calendar(&self) -> Option<DateTimeAxis> {
        match self.scale {
            Scale::Dates { unit, step } => {
                Some(DateTimeAxis { unit: (unit.unit)(), step, format: unit.format.into() })
            }
            Scale::Linear { .. } | Scale::Log { .. } | Scale::Even { .. } => None,
        }
    }

    /// Returns the position of `value` in tick units.
    pub fn place(&self, value: f64) -> f64 {
        self.scale.place(value)
    }

    /// Returns the function that writes the label of a tick.
    pub fn format(&self) -> TickFormat {
        let scale = self.scale;
        TickFormat::Custom(Arc::new(move |tick| scale.label(tick)))
    }
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear { digit, exponent, .. } => value / (f64::from(digit) * power(exponent)),
            Scale::Log { decades } => value.log10() / f64::from(decades),
            Scale::Dates { .. } => value,
            Scale::Even { seconds, .. } => value / seconds,
        }
    }

    fn label(self, tick: f64) -> String {
        match self {
            Scale::Log { decades } => format!("1e{}", tick.round() as i32 * decades),
            Scale::Dates { .. } => tick.to_string(),
            Scale::Even { seconds, format } => DateTime::from_timestamp((tick.round() * seconds) as i64, 0)
                .map_or_else(String::new, |date| date.naive_utc().format(format).to_string()),
            Scale::Linear { .. } if tick.round() == 0.0 => "0".to_owned(),
            Scale::Linear { digit, exponent, shared } => {
                let digits = tick.round() * f64::from(digit);
                let exponent = exponent - shared.unwrap_or(0);
                let number = format!("{:.*}", (-exponent).max(0) as usize, digits * power(exponent));
                shared.map_or(number.clone(), |shared| format!("{number}e{shared}"))
            }
        }
    }
}

/// Returns `10^exponent`. Negative exponents use one division, so the result is rounded only once.
fn power(exponent: i32) -> f64 {
    if exponent < 0 { 10f64.powi(-exponent).recip() } else { 10f64.powi(exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: (f64, f64)) -> Vec<String> {
        let axis = Axis::linear(range, false);
        (axis.low.ceil() as i64..=axis.high.floor() as i64)
            .map(|tick| axis.scale.label(tick as f64))
            .collect()
    }

    #[test]
    fn labels_of_any_scale_are_round_numbers() {
        assert_eq!(labels((0.0, 0.3)), ["0", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]);
        assert_eq!(labels((0.0, 0.7)), ["0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]);
        assert_eq!(labels((1000.0, 1460.0)), ["1000", "1100", "1200", "1300", "1400"]);
        assert_eq!(labels((-5.0, 5.0)), ["-4", "-2", "0", "2", "4"]);
        assert_eq!(labels((0.0, 90_000.0)), ["0", "20000", "40000", "60000", "80000"]);
        assert_eq!(labels((1e-12, 7e-12)).join(" "), "1e-12 2e-12 3e-12 4e-12 5e-12 6e-12 7e-12");
        assert_eq!(labels((0.0, 1.1e12)), ["0", "0.2e12", "0.4e12", "0.6e12", "0.8e12", "1.0e12"]);
        assert_eq!(labels((1e12, 1e12 + 1e4)).len(), 6);
    }

    #[test]
    fn linear_axis_of_whole_numbers_has_no_ticks_between_them() {
        for last in [1.0, 2.0, 3.0] {
            let axis = Axis::linear((1.0, last), true);
            assert_eq!([axis.place(1.0), axis.place(last)], [1.0, last]);
        }
        assert_eq!(Axis::linear((1.0, 2.0), false).place(2.0), 10.0);
    }

    #[test]
    fn linear_axis_of_a_constant_has_a_range_around_it() {
        for value in [0.0, 3.0, -3.0, 1e12, -1e-12, 1e299] {
            let axis = Axis::linear((value, value), false);
            let place = axis.place(value);
            assert!(axis.low < place && place < axis.high, "{value}: {axis:?}");
            assert!(labels((value, value)).len() >= 2, "{value}: {axis:?}");
        }
    }

    #[test]
    fn linear_axis_of_extreme_floats_is_finite() {
        assert_eq!(extent([f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX]), None);
        assert_eq!(extent([f64::NAN, 2.0, -1.0]), Some((-1.0, 2.0)));
        assert_eq!(plottable(f64::MIN_POSITIVE), Some(0.0));
        for range in [(-9e299, 9e299), (0.0, 2e-300), (1e-12, 1e12), (1e12, 1e12 + 1.0)] {
            let axis = Axis::linear(range, false);
            assert!(axis.low < axis.high && axis.high - axis.low < 20.0, "{range:?}: {axis:?}");
        }
    }

    #[test]
    fn date_axis_of_any_length_has_few_ticks() {
        let first = 1_704_067_200.0; // 2024-01-01
        for (span, labels) in [
            (3.0, 5..=8),
            (900.0, 2..=8),
            (DAY, 2..=8),
            (60.0 * DAY, 3..=8),
            (4.0 * 365.0 * DAY, 3..=8),
            (900.0 * 365.0 * DAY, 3..=9),
            (0.0, 2..=9),
        ] {
            let axis = Axis::dates((first, first + span));
            let calendar = axis.calendar().unwrap();
            let ticks = calendar.generate_ticks(axis.low, axis.high);
            assert!(labels.contains(&ticks.len()), "{span}: {calendar:?} {ticks:?}");
            assert!(axis.low < first && first + span < axis.high);
        }
        assert!(Axis::linear((0.0, 1.0), false).calendar().is_none());
    }

    #[test]
    fn log_axis_of_any_length_contains_powers_of_ten() {
        let axis = Axis::log((1e-8, 1e-3));
        assert!((axis.place(1e-8) + 8.0).abs() < 1e-9 && axis.low < -8.0 && axis.high > -3.0);
        assert_eq!(axis.scale.label(-5.0), "1e-5");
        let narrow = Axis::log((2e-4, 3e-4));
        assert!(narrow.low < -4.0 && narrow.high > -3.0, "{narrow:?}");
        let point = Axis::log((1e-4, 1e-4));
        assert!(point.low < -4.0 && point.high > -3.0, "{point:?}");
        let wide = Axis::log((1e-200, 1e200));
        assert!(wide.high - wide.low < 20.0, "{wide:?}");
    }
}
