//! Builders for the tests of statistical models.

use serde_json::Value;

use super::Estimated;

/// Returns the series and results of `tests/golden/statistical.py`, by name.
pub fn golden() -> Vec<(String, Value)> {
    let text = include_str!("../../../tests/golden/statistical.json");
    let all: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    all.into_iter().collect()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

pub fn season(of: &Value) -> usize {
    of["season"].as_u64().unwrap() as usize
}

/// Returns the first `steps` forecasts.
pub fn first(model: &dyn Estimated, steps: usize) -> Vec<f64> {
    model.forecasts().take(steps).collect()
}

/// Fails if two lists differ by more than `tolerance`, relative to the largest number.
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let size = expected.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
    let close = found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * size);
    assert!(close, "{what}: {found:?} is not {expected:?}");
}
