//! The share of the actual values that intervals contain, on rows whose errors the intervals are not from.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};
use tch::Tensor;

use crate::time_series::{Coverage, Forecast, Intervals, Level, Predicted};

/// The coverage of intervals.
pub struct Coverages {
    /// The rows on which the coverage was measured.
    place: &'static str,
    measured: Vec<Coverage>,
    /// The levels that need more errors.
    left_out: Vec<Level>,
}

impl Coverages {
    /// Measures the coverage on the test split of intervals from the validation split.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn on_test(levels: &[Level], intervals: &Intervals, test: &Forecast) -> Result<Self> {
        Self::of("the test split", levels, intervals, &test.predicted()?, &test.actual)
    }

    /// Measures the coverage on the second half of the validation split of intervals from its first half.
    ///
    /// # Errors
    /// Fails if libtorch does.
    pub fn on_half(levels: &[Level], validation: &Forecast) -> Result<Self> {
        let rows = validation.actual.size()[0];
        let half = rows / 2;
        let predicted = validation.predicted()?;
        let part = |from: i64, rows: i64| -> Result<(Vec<Predicted>, Tensor)> {
            let steps = predicted.iter().map(|step| step.narrow(from, rows)).collect::<Result<_>>()?;
            Ok((steps, validation.actual.f_narrow(0, from, rows)?))
        };
        let ((first, of_first), (second, of_second)) = (part(0, half)?, part(half, rows - half)?);
        let place = "the second half of the validation split, with the errors of the first";
        match Intervals::of(&first, &of_first)? {
            Some(intervals) => Self::of(place, levels, &intervals, &second, &of_second),
            None => Ok(Self { place, measured: Vec::new(), left_out: levels.to_vec() }),
        }
    }

    fn of(
        place: &'static str,
        levels: &[Level],
        intervals: &Intervals,
        forecasts: &[Predicted],
        actual: &Tensor,
    ) -> Result<Self> {
        let possible = intervals.possible(levels);
        let measured = possible
            .iter()
            .map(|&level| intervals.coverage(forecasts, actual, level))
            .collect::<Result<_>>()?;
        let left_out = levels.iter().copied().filter(|level| !possible.contains(level)).collect();
        Ok(Self { place, measured, left_out })
    }

    /// Returns a line per level for the terminal.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let measured: Vec<_> = self.measured.iter().filter(|coverage| coverage.all > 0).collect();
        // Writing to a string cannot fail.
        if !measured.is_empty() {
            let _ = writeln!(text, "Coverage of intervals on {}", self.place);
        }
        for coverage in &measured {
            let Coverage { level, all, .. } = coverage;
            let _ = writeln!(text, "  {level} % level {:>10.1} % of {all} values", coverage.percent());
        }
        for level in self.left_out.iter().filter(|_| !measured.is_empty()) {
            let needed = level.needed();
            let _ = writeln!(text, "  {level} % level is left out: it needs {needed} errors per step ahead");
        }
        text
    }

    /// Returns the coverages as JSON.
    pub fn json(&self) -> Value {
        let measured = self.measured.iter().filter(|coverage| coverage.all > 0).map(Coverage::json);
        json!({"rows": self.place, "levels": measured.collect::<Value>(), "left_out": self.left_out})
    }
}
