//! Tests of all statistical models, over series of many kinds.

use super::testing::assert_close;
use crate::time_series::{Baseline, BaselineConfig};

const MODELS: [Baseline; 5] =
    [Baseline::AutoEts, Baseline::AutoTheta, Baseline::Mstl, Baseline::Croston, Baseline::Tsb];

fn config(season: Option<usize>) -> BaselineConfig {
    BaselineConfig { season, ..BaselineConfig::default() }
}

/// Returns 60 rows of demand with a season of 4 rows and some zeros.
fn demand() -> Vec<f64> {
    (0..60_u64).map(|row| ((row * row * 7_919 % 13) * (row % 4)) as f64).collect()
}

#[test]
fn model_of_any_series_and_season_is_forecasts_or_an_error() {
    let kinds: [fn(usize) -> f64; 13] = [
        |_| 0.0,
        |_| -3.5,
        |row| row as f64,
        |row| -(row as f64).powi(3),
        |row| f64::from(u8::from(row % 5 == 0)),
        |row| if row % 2 == 0 { 1.0 } else { -1.0 },
        |row| 1e300 * (1.0 + (row % 3) as f64),
        |row| 1e-300 * (1.0 + (row % 3) as f64),
        |row| 2.0_f64.powi(row as i32),
        |row| if row == 3 { f64::INFINITY } else { row as f64 },
        |row| if row % 3 == 0 { f64::NAN } else { (row * 17 % 11) as f64 },
        |row| if row < 2 { f64::NAN } else { 5.0 },
        |_| f64::NAN,
    ];
    let seasons = [None, Some(1), Some(2), Some(3), Some(4), Some(7), Some(12), Some(30), Some(usize::MAX)];
    for rows in [0, 1, 2, 3, 4, 5, 6, 7, 9, 14, 33] {
        for (kind, value) in kinds.into_iter().enumerate() {
            let series: Vec<f64> = (0..rows + 5).map(value).collect();
            for (season, model) in seasons.into_iter().flat_map(|season| MODELS.map(|model| (season, model)))
            {
                let what = format!("{model:?}, {rows} rows, kind {kind}, season {season:?}");
                match model.from_past(&config(season), &series, rows) {
                    Ok(past) => {
                        let steps = past.forecast(rows..rows + 5, 3, 2).unwrap();
                        assert!(steps.len() == 3 && steps.iter().all(|step| step.len() == 5), "{what}");
                        let moderate = ![6, 7, 8, 9].contains(&kind);
                        let finite = steps[0].iter().all(|forecast| forecast.is_finite());
                        assert!(finite || !moderate, "{what}: {steps:?}");
                    }
                    Err(error) => assert!(error.to_string().contains("expected"), "{what}: {error}"),
                }
            }
        }
    }
}

#[test]
fn forecast_depends_on_no_value_after_its_origin() {
    let series = demand();
    for (model, stride) in MODELS.into_iter().flat_map(|model| [1, 2].map(|stride| (model, stride))) {
        let of = |series: &[f64]| {
            model.from_past(&config(Some(4)), series, 40).unwrap().forecast(40..60, 3, stride).unwrap()
        };
        let before = of(&series);
        for origin in 40..60 {
            let mut other = series.clone();
            other[origin..].iter_mut().for_each(|value| *value += 100.0);
            let after = of(&other);
            for (step, (before, after)) in before.iter().zip(&after).enumerate() {
                let last = (origin + step * stride + 1).min(60) - 40;
                let same = before[..last]
                    .iter()
                    .zip(&after[..last])
                    .all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                assert!(same, "{model:?}, origin {origin}, step {step}");
                let missing = before.iter().take_while(|value| value.is_nan()).count();
                assert_eq!(missing, step * stride, "{model:?}, step {step}");
            }
        }
    }
}

#[test]
fn first_forecasts_of_rows_are_those_of_the_future_of_the_rows_before() {
    let series = demand();
    for model in MODELS {
        let steps = model.from_past(&config(Some(4)), &series, 40).unwrap().forecast(40..60, 5, 1).unwrap();
        let future = model.from_past(&config(Some(4)), &series[..40], 40).unwrap().future(5, 1).unwrap();
        let first: Vec<f64> = steps.iter().enumerate().map(|(step, made)| made[step]).collect();
        assert_eq!(first, future, "{model:?}");
    }
}

#[test]
fn forecasts_of_scaled_values_are_scaled() {
    let series = demand();
    for model in MODELS {
        let of = |scale: f64| {
            let series: Vec<f64> = series.iter().map(|value| value * scale).collect();
            model.from_past(&config(Some(4)), &series, 60).unwrap().future(8, 1).unwrap()
        };
        let expected: Vec<f64> = of(1.0).iter().map(|value| value * 1024.0).collect();
        assert_close(&of(1024.0), &expected, 1e-9, model.name());
    }
}

#[test]
fn missing_values_are_filled_and_noted() {
    let mut series = demand();
    [0, 9, 21].into_iter().for_each(|row| series[row] = f64::NAN);
    let mut filled = series.clone();
    [9, 21].into_iter().for_each(|row| filled[row] = filled[row - 4]);
    for model in MODELS {
        let of = |series: &[f64]| {
            let past = model.from_past(&config(Some(4)), series, series.len()).unwrap();
            (past.note().unwrap(), past.future(3, 1).unwrap())
        };
        let (note, forecasts) = of(&series);
        assert_eq!(forecasts, of(&filled[1..]).1, "{model:?}");
        assert!(note.contains("2 missing values filled") && note.starts_with(model.name()), "{note}");
    }
}
