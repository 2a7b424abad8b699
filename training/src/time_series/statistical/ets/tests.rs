use super::*;
use crate::time_series::statistical::testing::{assert_close, first, golden, numbers, season};

/// Returns the form with this name, if it is one for the season.
fn kind(name: &str, season: usize) -> Kind {
    let forms = [None, Some((season, Form::Additive)), Some((season, Form::Multiplicative))];
    let trends = [Trend::None, Trend::Linear, Trend::Damped];
    let all = [false, true].into_iter().flat_map(|relative| {
        trends.into_iter().flat_map(move |trend| forms.map(|season| Kind { relative, trend, season }))
    });
    all.into_iter().find(|kind| kind.name() == name).unwrap()
}

/// Calls `check` with each form of each golden series: the values, the form, and the results of statsforecast.
fn each_form(check: impl Fn(&str, &[f64], Kind, &serde_json::Value)) {
    for (series, of) in golden() {
        for (name, expected) in of["ets"].as_object().into_iter().flatten() {
            let values = numbers(&of["values"]);
            check(&format!("{name} of {series}"), &values, kind(name, season(&of)), expected);
        }
    }
}

/// Hyndman et al., table 2.1.
#[test]
fn forecasts_of_a_damped_trend_add_powers_of_phi() {
    let kind = Kind { relative: false, trend: Trend::Damped, season: None };
    let smoothing = Smoothing { alpha: 0.5, beta: 0.1, gamma: 0.0, phi: 0.5 };
    let state = State { rows: 9, level: 10.0, trend: 4.0, season: Vec::new() };
    assert_eq!(first(&Ets { kind, smoothing, state, note: "" }, 3), [12.0, 13.0, 13.5]);
}

/// The same equations: the difference is that of the rounding of the golden file, over 100 rows.
#[test]
fn forecasts_with_given_parameters_are_those_of_statsforecast() {
    each_form(|name, values, kind, expected| {
        let smoothing = numbers(&expected["smoothing"]);
        let phi = if kind.trend == Trend::Damped { smoothing[3] } else { 1.0 };
        let smoothing = Smoothing { alpha: smoothing[0], beta: smoothing[1], gamma: smoothing[2], phi };
        let states = numbers(&expected["states"]);
        let trend = kind.trend != Trend::None;
        let season = states[1 + usize::from(trend)..].to_vec();
        let state = State { rows: 0, level: states[0], trend: if trend { states[1] } else { 0.0 }, season };
        let mut model = Ets { kind, smoothing, state, note: "" };
        values.iter().for_each(|value| model.update(*value));
        let expected = numbers(&expected["forecasts"]);
        assert_close(&first(&model, expected.len()), &expected, 1e-7, name);
    });
}

/// The same likelihood: the smallest one is never greater than that of the search of statsforecast, which often ends earlier.
#[test]
fn aicc_of_an_estimated_form_is_at_most_that_of_statsforecast() {
    each_form(|name, values, kind, expected| {
        let (aicc, _) = fit(values, kind).unwrap();
        let other = expected["aicc"].as_f64().unwrap();
        assert!(aicc < other + 1e-3, "{name}: {aicc} is greater than {other}");
        // Three parameters, whose minimum both searches find.
        if kind == SIMPLEST {
            assert!((aicc - other).abs() < 1e-3, "{name}: {aicc} is not {other}");
        }
    });
}

#[test]
fn estimate_of_a_long_or_unknown_season_has_none_and_notes_the_reason() {
    let values: Vec<f64> = (0..120).map(|row| f64::from(10 + row % 30)).collect();
    let form = |season| Ets::estimate(&values, season).unwrap().form();
    for (season, note) in [
        (Some(30), "a season of more than 24 rows is left out"),
        (Some(usize::MAX), "more than 24 rows"),
        (None, "the season is unknown"),
    ] {
        assert!(form(season).contains(note), "{}", form(season));
    }
    let form = Ets::estimate(&values[..15], Some(8)).unwrap().form();
    assert!(form.contains("less than two seasons"), "{form}");
    let values: Vec<f64> = (0..120).map(|row| f64::from(10 + row % 15)).collect();
    assert!(Ets::estimate(&values, Some(15)).unwrap().form().contains("with a season of 15 rows"));
}

#[test]
fn estimate_of_constant_values_forecasts_them() {
    for value in [0.0, 5.0, -1e9] {
        let model = Ets::estimate(&[value; 30], Some(12)).unwrap();
        assert_eq!(first(&model, 3), [value; 3]);
    }
}

#[test]
fn estimate_of_a_line_and_a_season_continues_them() {
    let value = |row: usize| 100.0 + 2.0 * row as f64 + [5.0, -3.0, 4.0, -6.0][row % 4];
    let values: Vec<f64> = (0..40).map(value).collect();
    let expected: Vec<f64> = (40..52).map(value).collect();
    assert_close(&first(&Ets::estimate(&values, Some(4)).unwrap(), 12), &expected, 1e-3, "line and season");
}
