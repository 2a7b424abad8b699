//! Exponential smoothing with the best of its forms: `auto_ets`.
//!
//! Hyndman, Koehler, Ord and Snyder, "Forecasting with Exponential Smoothing: The State Space Approach", 2008. The forms are those
//! of R's `forecast::ets`: additive or multiplicative errors; no trend, a trend or a damped trend; no season, an additive season
//! or a multiplicative one (with multiplicative errors only). The corrected information criterion (AICc) chooses.

use text_recognizer::Result;

use super::least_squares::{Problem, minimize};
use super::seasonal::{Form, components};
use super::{Estimated, too_few};

/// The fewest values of an estimation: the simplest form has 3 parameters.
pub const LEAST: usize = 5;
/// The longest season of a form, as in R's `forecast::ets`: a longer one has too many parameters.
const MOST_SEASON: usize = 24;
/// The bounds of `alpha`, of `beta / alpha`, and of `gamma / (1 - alpha)`.
const SMOOTHING: [f64; 2] = [1e-4, 0.9999];
/// The bounds of `phi`.
const DAMPING: [f64; 2] = [0.8, 0.98];
/// The values of `alpha`, `beta / alpha` and `gamma / (1 - alpha)` that an estimation starts from.
const STARTS: [[f64; 3]; 3] = [[0.1, 0.05, 0.05], [0.5, 0.1, 0.1], [0.9, 0.2, 0.3]];
/// The error of a fit, relative to the size of the values, that is a perfect one. Smaller errors are rounding.
const PERFECT: f64 = 1e-9;

/// The form of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Whether an error is a share of the forecast.
    relative: bool,
    trend: Trend,
    season: Option<(usize, Form)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trend {
    None,
    Linear,
    Damped,
}

impl Kind {
    /// Returns the number of smoothing parameters, and that of all parameters with the first states.
    fn sizes(self) -> [usize; 2] {
        let trend = usize::from(self.trend != Trend::None);
        let smoothing =
            1 + trend + usize::from(self.season.is_some()) + usize::from(self.trend == Trend::Damped);
        let season = self.season.map_or(0, |(rows, _)| rows - 1);
        [smoothing, smoothing + 1 + trend + season]
    }

    /// Returns the name, such as ETS(M,Ad,M).
    fn name(self) -> String {
        let error = if self.relative { "M" } else { "A" };
        let trend = match self.trend {
            Trend::None => "N",
            Trend::Linear => "A",
            Trend::Damped => "Ad",
        };
        let season = match self.season {
            None => "N",
            Some((_, Form::Additive)) => "A",
            Some((_, Form::Multiplicative)) => "M",
        };
        format!("ETS({error},{trend},{season})")
    }
}

/// The smoothing parameters, in the notation of Hyndman et al.
#[derive(Debug, Clone, Copy)]
struct Smoothing {
    alpha: f64,
    beta: f64,
    gamma: f64,
    phi: f64,
}

/// The state after `rows` values.
#[derive(Debug, Clone)]
struct State {
    rows: usize,
    level: f64,
    trend: f64,
    /// The seasonal components, from the first row on; empty without a season.
    season: Vec<f64>,
}

/// An exponential smoothing model.
#[derive(Debug, Clone)]
pub struct Ets {
    kind: Kind,
    smoothing: Smoothing,
    state: State,
    note: &'static str,
}

impl Ets {
    /// Chooses the form with the smallest AICc, and estimates its parameters on `values` by maximum likelihood. Forms with a season
    /// need two seasons, of at most 24 rows; multiplicative forms need values that are greater than 0.
    ///
    /// # Errors
    /// Fails if there are fewer than 5 values.
    pub fn estimate(values: &[f64], season: Option<usize>) -> Result<Self> {
        too_few("auto_ets", values, LEAST)?;
        let note = match season {
            Some(rows) if rows > MOST_SEASON => " (a season of more than 24 rows is left out)",
            Some(rows) if rows > 1 && values.len() < 2 * rows => " (the rows are less than two seasons)",
            Some(_) => "",
            None => " (the season is unknown)",
        };
        let season = season.filter(|&rows| (2..=MOST_SEASON).contains(&rows) && values.len() >= 2 * rows);
        let constant = values.iter().all(|value| *value == values[0]);
        let fits = kinds(values, season).filter(|kind| !constant || *kind == SIMPLEST);
        let fits = fits.filter_map(|kind| fit(values, kind));
        let best = fits.reduce(|best, fit| if fit.0 < best.0 { fit } else { best });
        let (_, model) = best.unwrap_or_else(|| (f64::NAN, simplest(values)));
        Ok(Self { note, ..model })
    }
}

const SIMPLEST: Kind = Kind { relative: false, trend: Trend::None, season: None };

/// Returns the last value as a forecast: the model of values that no form fits.
fn simplest(values: &[f64]) -> Ets {
    let smoothing = Smoothing { alpha: 1.0, beta: 0.0, gamma: 0.0, phi: 1.0 };
    let level = values.last().copied().unwrap_or(f64::NAN);
    let state = State { rows: values.len(), level, trend: 0.0, season: Vec::new() };
    Ets { kind: SIMPLEST, smoothing, state, note: "" }
}

/// Returns the forms for `values`, of which each has fewer parameters than values.
fn kinds(values: &[f64], season: Option<usize>) -> impl Iterator<Item = Kind> + use<> {
    let (rows, positive) = (values.len(), values.iter().all(|&value| value > 0.0));
    let seasons =
        [None, season.map(|rows| (rows, Form::Additive)), season.map(|rows| (rows, Form::Multiplicative))];
    let seasons = seasons.into_iter().enumerate().filter(|(index, season)| *index == 0 || season.is_some());
    let seasons: Vec<_> = seasons.map(|(_, season)| season).collect();
    let trends = [Trend::None, Trend::Linear, Trend::Damped];
    let kinds = [false, true].into_iter().flat_map(move |relative| {
        let seasons = seasons.clone();
        trends.into_iter().flat_map(move |trend| {
            seasons.clone().into_iter().map(move |season| Kind { relative, trend, season })
        })
    });
    kinds.filter(move |kind| {
        let multiplicative = matches!(kind.season, Some((_, Form::Multiplicative)));
        (positive || !kind.relative)
            && (kind.relative || !multiplicative)
            // The std of the errors is a parameter too; the AICc needs one value more.
            && kind.sizes()[1] + 2 < rows
    })
}

/// Estimates a form. Returns its AICc and the model, or `None` if no parameters give finite errors.
fn fit(values: &[f64], kind: Kind) -> Option<(f64, Ets)> {
    let scale = values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64;
    let states = first_states(values, kind);
    let [smoothing, parameters] = kind.sizes();
    let mut steps = vec![1.0; parameters];
    let free = match kind.season {
        Some((_, Form::Multiplicative)) => smoothing + 1 + usize::from(kind.trend != Trend::None),
        _ => parameters,
    };
    steps[smoothing..free].fill(scale);
    let mut bounds = vec![[f64::NEG_INFINITY, f64::INFINITY]; parameters];
    bounds[..smoothing].fill(SMOOTHING);
    if kind.trend == Trend::Damped {
        bounds[smoothing - 1] = DAMPING;
    }
    let residuals = |x: &[f64]| errors(values, kind, x, scale);
    let problem = Problem { residuals: &residuals, bounds: &bounds, scales: &steps };
    let fits = STARTS.iter().filter_map(|start| {
        let [alpha, beta, gamma] = *start;
        let mut x = vec![alpha];
        if kind.trend != Trend::None {
            x.push(beta);
        }
        if kind.season.is_some() {
            x.push(gamma);
        }
        if kind.trend == Trend::Damped {
            x.push(0.95);
        }
        x.extend(&states);
        minimize(&problem, x)
    });
    let (error, x) = fits.reduce(|best, fit| if fit.0 < best.0 { fit } else { best })?;
    let (rows, size) = (values.len() as f64, parameters as f64 + 1.0);
    let likelihood =
        rows * (error.max(rows * PERFECT * PERFECT)).ln() + 2.0 * rows * scale.max(f64::MIN_POSITIVE).ln();
    let aicc = likelihood + 2.0 * size + 2.0 * size * (size + 1.0) / (rows - size - 1.0);
    let (smoothing, mut state) = unpack(kind, &x);
    values.iter().for_each(|value| {
        step(kind, smoothing, &mut state, *value);
    });
    Some((aicc, Ets { kind, smoothing, state, note: "" }))
}

/// Returns the errors whose sum of squares the most likely parameters minimize, in units of `scale`. Their likelihood is that of
/// the additive errors `e`, or of the relative errors `e / forecast`; the latter are multiplied with the geometric mean of the
/// forecasts. Returns `None` if a forecast is not finite, or not greater than 0 with relative errors.
fn errors(values: &[f64], kind: Kind, x: &[f64], scale: f64) -> Option<Vec<f64>> {
    let (smoothing, mut state) = unpack(kind, x);
    let mut logarithms = 0.0;
    let mut errors = Vec::with_capacity(values.len());
    for &value in values {
        let forecast = step(kind, smoothing, &mut state, value);
        let error = if kind.relative {
            if forecast <= 0.0 {
                return None;
            }
            logarithms += (forecast / scale).ln();
            (value - forecast) / forecast
        } else {
            (value - forecast) / scale
        };
        errors.push(error);
    }
    let mean = (logarithms / values.len() as f64).exp();
    errors.iter_mut().for_each(|error| *error *= mean);
    errors.iter().all(|error| error.is_finite()).then_some(errors)
}

/// Returns the first states of an estimation: the seasonal components of a classical decomposition, and the straight line through
/// the first ten values without them (Hyndman et al., section 2.6).
fn first_states(values: &[f64], kind: Kind) -> Vec<f64> {
    let season = kind.season.map(|(rows, form)| (components(values, rows, form), form));
    let rows = values.len().min(10.max(season.as_ref().map_or(0, |(season, _)| season.len())));
    let rest: Vec<f64> = values[..rows]
        .iter()
        .enumerate()
        .map(|(row, value)| match &season {
            None => *value,
            Some((season, Form::Additive)) => value - season[row % season.len()],
            Some((season, Form::Multiplicative)) => value / season[row % season.len()],
        })
        .collect();
    let mean = rest.iter().sum::<f64>() / rows as f64;
    let middle = (rows - 1) as f64 / 2.0;
    let products = |row: usize, value: f64| (row as f64 - middle) * value;
    let squares: f64 = (0..rows).map(|row| (row as f64 - middle).powi(2)).sum();
    let slope = rest.iter().enumerate().map(|(row, value)| products(row, *value)).sum::<f64>() / squares;
    let mut states = match kind.trend {
        Trend::None => vec![mean],
        // Row -1 is the one before the first value.
        _ => vec![mean - slope * (middle + 1.0), slope],
    };
    if let Some((season, _)) = season {
        states.extend(&season[..season.len() - 1]);
    }
    states
}

/// Returns the smoothing parameters and the first state of the parameters `x`. The last seasonal component follows from the others.
fn unpack(kind: Kind, x: &[f64]) -> (Smoothing, State) {
    let mut rest = x.iter().copied();
    let mut next = || rest.next().unwrap_or(f64::NAN);
    let alpha = next();
    let beta = if kind.trend == Trend::None { 0.0 } else { alpha * next() };
    let gamma = if kind.season.is_none() { 0.0 } else { (1.0 - alpha) * next() };
    let phi = if kind.trend == Trend::Damped { next() } else { 1.0 };
    let level = next();
    let trend = if kind.trend == Trend::None { 0.0 } else { next() };
    let mut season: Vec<f64> = rest.collect();
    if let Some((rows, form)) = kind.season {
        let total = if form == Form::Additive { 0.0 } else { rows as f64 };
        season.push(total - season.iter().sum::<f64>());
    }
    (Smoothing { alpha, beta, gamma, phi }, State { rows: 0, level, trend, season })
}

/// Moves the state one row on, and returns the forecast of the row. The equations are the same for additive and relative errors
/// (Hyndman et al., tables 2.2 and 2.3).
fn step(kind: Kind, smoothing: Smoothing, state: &mut State, value: f64) -> f64 {
    let Smoothing { alpha, beta, gamma, phi } = smoothing;
    let (slope, index) = (phi * state.trend, state.rows % state.season.len().max(1));
    let base = state.level + slope;
    let (forecast, error, seasonal) = match kind.season {
        None => (base, value - base, 0.0),
        Some((_, Form::Additive)) => {
            let forecast = base + state.season[index];
            (forecast, value - forecast, value - forecast)
        }
        Some((_, Form::Multiplicative)) => {
            let factor = state.season[index];
            let forecast = base * factor;
            ((forecast), (value - forecast) / factor, (value - forecast) / base)
        }
    };
    state.rows += 1;
    // A multiplicative season has no error for a component of 0; the state then stays as it is.
    if error.is_finite() && seasonal.is_finite() {
        state.level = base + alpha * error;
        state.trend = slope + beta * error;
        if let Some(component) = state.season.get_mut(index) {
            *component += gamma * seasonal;
        }
    }
    forecast
}

impl Estimated for Ets {
    fn update(&mut self, value: f64) {
        step(self.kind, self.smoothing, &mut self.state, value);
    }

    fn forecasts(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        let State { rows, level, trend, season } = &self.state;
        let (mut base, mut slope) = (*level, *trend);
        Box::new((*rows..).map(move |row| {
            slope *= self.smoothing.phi;
            base += slope;
            match self.kind.season {
                None => base,
                Some((_, Form::Additive)) => base + season[row % season.len()],
                Some((_, Form::Multiplicative)) => base * season[row % season.len()],
            }
        }))
    }

    fn form(&self) -> String {
        let season = match self.kind.season {
            None => format!("without a season{}", self.note),
            Some((rows, _)) => format!("with a season of {rows} rows"),
        };
        format!("{}, alpha {:.2}, {season}", self.kind.name(), self.smoothing.alpha)
    }
}

#[cfg(test)]
mod tests;
