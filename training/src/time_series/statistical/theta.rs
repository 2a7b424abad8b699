//! The theta method, with the best of its forms: `auto_theta`.
//!
//! Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler, "Models for optimising the theta method and their relationship to state
//! space models", 2016. The optimized theta model (OTM) has one straight line, that of the rows of the estimation; in the dynamic
//! optimized theta model (DOTM) the line follows the values. Both contain the standard form (theta = 2).

use text_recognizer::Result;

use super::seasonal::{Form, components, is_seasonal};
use super::{Estimated, too_few};
use crate::format::number;

/// The fewest values of an estimation: the errors of the first three rows do not count.
const LEAST: usize = 4;
/// The first row whose error counts.
const FIRST: usize = 3;
/// The bounds of the smoothing parameter.
const ALPHAS: [f64; 2] = [0.1, 0.99];
/// The steps of the search of the smoothing parameter, before it is refined.
const STEPS: usize = 89;

/// A theta model of a deseasonalized series, with its seasonal component.
#[derive(Debug, Clone)]
pub struct Theta {
    dynamic: bool,
    /// The smoothing parameter.
    alpha: f64,
    /// `1 - 1 / theta`, the weight of the straight line.
    weight: f64,
    state: State,
    /// The seasonal components, from the first row on; empty without a season.
    season: Vec<f64>,
    form: Form,
}

/// The state after `rows` values.
#[derive(Debug, Clone)]
struct State {
    rows: usize,
    level: f64,
    mean: f64,
    /// The straight line: its value at row 0 (of rows from 1), and its slope.
    line: [f64; 2],
}

impl State {
    /// Returns the forecast of the next row, without the level: the straight line, smoothed like the level.
    fn line_ahead(&self, alpha: f64) -> f64 {
        let decay = (1.0 - alpha).powi(self.rows.min(i32::MAX as usize) as i32);
        self.line[0] * decay + self.line[1] * (1.0 - decay * (1.0 - alpha)) / alpha
    }

    fn update(&mut self, value: f64, alpha: f64, dynamic: bool) {
        let rows = self.rows as f64;
        self.level = alpha * value + (1.0 - alpha) * self.level;
        if dynamic {
            let change = 6.0 * (value - self.mean) / (rows + 1.0);
            self.line[1] = ((rows - 1.0) * self.line[1] + change) / (rows + 2.0);
        }
        self.mean = (rows * self.mean + value) / (rows + 1.0);
        if dynamic {
            self.line[0] = self.mean - self.line[1] * (rows + 2.0) / 2.0;
        }
        self.rows += 1;
    }
}

/// The parameters and the sum of their squared errors.
struct Fit {
    dynamic: bool,
    alpha: f64,
    weight: f64,
    level: f64,
    error: f64,
}

impl Theta {
    /// Chooses the form with the smallest squared errors one step ahead, and estimates its parameters on `values`. The season is
    /// left out if it is not significant. A multiplicative season needs values that are greater than 0.
    ///
    /// # Errors
    /// Fails if there are fewer than 4 values.
    pub fn estimate(values: &[f64], season: Option<usize>) -> Result<Self> {
        too_few("auto_theta", values, LEAST)?;
        let (season, form) = season_of(values, season);
        let rest = rest(values, &season, form);
        let [fixed, dynamic] = [false, true].map(|dynamic| search(&rest, dynamic));
        let fit = if fixed.error <= dynamic.error { fixed } else { dynamic };
        Ok(after(&rest, &fit, season, form))
    }

    fn component(&self, row: usize) -> f64 {
        match self.season.len() {
            0 => 0.0,
            season => self.season[row % season],
        }
    }
}

impl Estimated for Theta {
    fn update(&mut self, value: f64) {
        let component = self.component(self.state.rows);
        self.state.update(without(value, component, self.form), self.alpha, self.dynamic);
    }

    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        let mut state = self.state.clone();
        Box::new(std::iter::repeat_with(move || {
            let forecast = state.level + self.weight * state.line_ahead(self.alpha);
            let component = self.component(state.rows);
            // A forecast takes the place of the value that is not known yet.
            state.update(forecast, self.alpha, self.dynamic);
            match self.form {
                Form::Additive => forecast + component,
                Form::Multiplicative => forecast * component,
            }
        }))
    }

    fn form(&self) -> String {
        let name =
            if self.dynamic { "the dynamic optimized theta model" } else { "the optimized theta model" };
        let season = match self.season.len() {
            0 => "without a season".to_owned(),
            rows => format!("with a season of {rows} rows ({})", self.form.name()),
        };
        let theta = number(1.0 / (1.0 - self.weight));
        format!("{name}, alpha {:.2}, theta {theta}, {season}", self.alpha)
    }
}

/// Returns the seasonal components of `values`, or none if the season is not significant.
fn season_of(values: &[f64], season: Option<usize>) -> (Vec<f64>, Form) {
    let Some(season) = season.filter(|&season| is_seasonal(values, season)) else {
        return (Vec::new(), Form::Additive);
    };
    if values.iter().all(|&value| value > 0.0) {
        let factors = components(values, season, Form::Multiplicative);
        if factors.iter().all(|&factor| factor >= 0.01) {
            return (factors, Form::Multiplicative);
        }
    }
    (components(values, season, Form::Additive), Form::Additive)
}

/// Returns `values` without their season.
fn rest(values: &[f64], season: &[f64], form: Form) -> Vec<f64> {
    if season.is_empty() {
        return values.to_vec();
    }
    let rest = values.iter().enumerate();
    rest.map(|(row, value)| without(*value, season[row % season.len()], form)).collect()
}

/// Returns the model after all values, of which `rest` is without the season.
fn after(rest: &[f64], fit: &Fit, season: Vec<f64>, form: Form) -> Theta {
    let Fit { dynamic, alpha, weight, level, .. } = *fit;
    let mut state = first(rest, dynamic, alpha, level);
    rest[1..].iter().for_each(|value| state.update(*value, alpha, dynamic));
    Theta { dynamic, alpha, weight, state, season, form }
}

fn without(value: f64, component: f64, form: Form) -> f64 {
    match form {
        Form::Additive => value - component,
        Form::Multiplicative => value / component,
    }
}

/// Returns the state after the first of `values`. `level` is the one before it.
fn first(values: &[f64], dynamic: bool, alpha: f64, level: f64) -> State {
    let line = if dynamic { [values[0], 0.0] } else { regression(values) };
    State { rows: 1, level: alpha * values[0] + (1.0 - alpha) * level, mean: values[0], line }
}

/// Returns the straight line of least squares over the rows 1, 2, ...: its value at row 0, and its slope.
fn regression(values: &[f64]) -> [f64; 2] {
    let rows = values.len() as f64;
    let mean = values.iter().sum::<f64>() / rows;
    let moment = values.iter().zip(1..).map(|(value, row)| value * f64::from(row)).sum::<f64>() / rows;
    let slope = 6.0 * (2.0 * moment - (rows + 1.0) * mean) / (rows * rows - 1.0);
    [mean - slope * (rows + 1.0) / 2.0, slope]
}

/// Returns the parameters with the smallest sum of squared errors one step ahead.
fn search(values: &[f64], dynamic: bool) -> Fit {
    let at = |alpha: f64| solve(values, dynamic, alpha);
    let better = |a: Fit, b: Fit| if b.error < a.error { b } else { a };
    let [low, high] = ALPHAS;
    let step = (high - low) / STEPS as f64;
    let grid = (1..=STEPS).map(|index| at(low + index as f64 * step));
    let mut best = grid.fold(at(low), better);
    // Halves the steps around the best value.
    let mut step = step / 2.0;
    while step > 1e-7 {
        let around = [best.alpha - step, best.alpha + step].map(|alpha| at(alpha.clamp(low, high)));
        best = around.into_iter().fold(best, better);
        step /= 2.0;
    }
    best
}

/// Returns the first level and the weight of the line with the smallest errors for a value of `alpha`. The errors are linear in
/// both, so that these are the solution of a linear equation.
fn solve(values: &[f64], dynamic: bool, alpha: f64) -> Fit {
    let mut state = first(values, dynamic, alpha, 0.0);
    // The sums of products of the errors without both (e), the effect of the first level (l), and the line (d).
    let [mut ll, mut ld, mut dd, mut el, mut ed, mut ee] = [0.0; 6];
    let mut effect = 1.0 - alpha;
    for (row, &value) in values.iter().enumerate().skip(1) {
        if row >= FIRST {
            let (error, line) = (value - state.level, state.line_ahead(alpha));
            ll += effect * effect;
            ld += effect * line;
            dd += line * line;
            el += error * effect;
            ed += error * line;
            ee += error * error;
        }
        effect *= 1.0 - alpha;
        state.update(value, alpha, dynamic);
    }
    let determinant = ll * dd - ld * ld;
    // A constant series has a line that repeats the effect of the level; then the weight is the standard one.
    let free = if determinant > 1e-12 * ll * dd { (ed * ll - el * ld) / determinant } else { 0.5 };
    let weight = free.clamp(0.0, 1.0 - 1e-10);
    let level = (el - weight * ld) / ll;
    let error = ee + level * level * ll + weight * weight * dd
        - 2.0 * (level * el + weight * ed - level * weight * ld);
    let error = if error.is_nan() { f64::INFINITY } else { error.max(0.0) };
    Fit { dynamic, alpha, weight, level, error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_series::statistical::testing::{assert_close, first as steps, golden, numbers, season};

    /// Returns the model with given parameters, after all values.
    fn given(values: &[f64], rows: usize, fit: &Fit) -> Theta {
        let (season, form) = season_of(values, Some(rows));
        let rest = rest(values, &season, form);
        after(&rest, fit, season, form)
    }

    fn fit_of(expected: &serde_json::Value, dynamic: bool) -> Fit {
        let number = |name: &str| expected[name].as_f64().unwrap();
        let weight = 1.0 - 1.0 / number("theta");
        Fit { dynamic, alpha: number("alpha"), weight, level: number("level"), error: 0.0 }
    }

    /// The same equations: the difference is that of the rounding of the golden file.
    #[test]
    fn forecasts_with_given_parameters_are_those_of_statsforecast() {
        for (name, of) in golden().into_iter().filter(|(_, of)| of["theta"].is_object()) {
            for (form, dynamic) in [("OTM", false), ("DOTM", true)] {
                let expected = &of["theta"][form];
                let model = given(&numbers(&of["values"]), season(&of), &fit_of(expected, dynamic));
                let what = format!("{form} of {name}");
                assert_close(&steps(&model, 15), &numbers(&expected["forecasts"]), 1e-8, &what);
            }
        }
    }

    /// The search is exact in two of three parameters, so that its error is at most that of statsforecast.
    #[test]
    fn error_of_an_estimated_form_is_at_most_that_of_statsforecast() {
        for (name, of) in golden().into_iter().filter(|(_, of)| of["theta"].is_object()) {
            let values = numbers(&of["values"]);
            let (season, form) = season_of(&values, Some(season(&of)));
            let rest = rest(&values, &season, form);
            let size = rest.iter().map(|value| value.abs()).sum::<f64>() / rest.len() as f64;
            for (form, dynamic) in [("OTM", false), ("DOTM", true)] {
                let found = search(&rest, dynamic).error / size;
                let other = of["theta"][form]["mse"].as_f64().unwrap();
                assert!(found < other * (1.0 + 1e-6), "{form} of {name}: {found} is greater than {other}");
            }
        }
    }

    /// Both searches find nearly the same parameters, and so nearly the same forecasts. The walk is left out: its line has so little
    /// effect on the errors that statsforecast ends its search at another slope, with a greater error.
    #[test]
    fn forecasts_of_the_estimated_model_are_near_those_of_statsforecast() {
        for (name, of) in golden().into_iter().filter(|(name, of)| of["theta"].is_object() && name != "walk")
        {
            let model = Theta::estimate(&numbers(&of["values"]), Some(season(&of))).unwrap();
            let expected = numbers(&of["theta"]["auto"]["forecasts"]);
            assert_close(&steps(&model, 15), &expected, 0.05, &name);
        }
    }

    #[test]
    fn estimate_of_constant_values_forecasts_them() {
        for value in [0.0, 5.0, -1e9] {
            let found = steps(&Theta::estimate(&[value; 30], Some(6)).unwrap(), 3);
            assert!(found.iter().all(|found| (found - value).abs() <= 1e-9 * value.abs()), "{found:?}");
        }
    }

    #[test]
    fn estimate_of_a_line_continues_it() {
        let values: Vec<f64> = (0..50).map(|row| 3.0 + 2.0 * f64::from(row)).collect();
        let model = Theta::estimate(&values, None).unwrap();
        assert_close(&steps(&model, 4), &[103.0, 105.0, 107.0, 109.0], 1e-3, "line");
    }
}
