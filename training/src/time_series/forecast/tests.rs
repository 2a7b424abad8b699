use super::*;
use crate::time_series::Timestamps;

const NAN: f64 = f64::NAN;

/// Returns a forecast of two columns, with one tensor per step ahead.
fn forecast(actual: &[[f64; 2]], steps: &[&[[f64; 2]]]) -> Forecast {
    let tensor = |rows: &[[f64; 2]]| Tensor::from_slice2(rows);
    Forecast {
        quantiles: None,
        time: (0..actual.len()).map(|row| row.to_string()).collect(),
        names: vec!["a".into(), "b".into()],
        actual: tensor(actual),
        steps: steps.iter().map(|step| tensor(step)).collect(),
        stride: 1,
        whole: (actual.len() + 1 - steps.len()) * 2 * steps.len(),
    }
}

fn series(values: &[[f64; 2]]) -> Series {
    let names = vec!["a".into(), "b".into()];
    Series::new(Timestamps::counted(values.len()), names, true, Tensor::from_slice2(values)).unwrap()
}

/// Column a is off by 1 in all rows, column b by 100 in the only row that has a value.
#[test]
fn metric_is_per_column_first_and_over_what_is_there() {
    let actual = [[1.0, NAN], [2.0, 200.0], [4.0, NAN], [0.0, 7.0]];
    let made = [[2.0, 5.0], [3.0, 100.0], [5.0, 5.0], [1.0, NAN]];
    let forecast = forecast(&actual, &[&made]);
    for (metric, expected) in [
        (MetricName::Mae, [1.0, 100.0]),
        (MetricName::Rmse, [1.0, 100.0]),
        (MetricName::Mape, [100.0 * (1.0 + 0.5 + 0.25) / 3.0, 50.0]),
        (MetricName::Wape, [100.0 * 4.0 / 7.0, 50.0]),
    ] {
        let mean = (expected[0] + expected[1]) / 2.0;
        let got = forecast.columns(metric).unwrap();
        assert!(got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-12), "{got:?}");
        assert!((forecast.metric(metric).unwrap().unwrap() - mean).abs() < 1e-12, "{metric:?}");
    }
    assert_eq!(forecast.counts().unwrap(), Counts { compared: 5, nonzero: 4, missing: 3 });
}

#[test]
fn metric_of_values_that_are_all_zero_is_none_if_relative() {
    let forecast = forecast(&[[0.0, 0.0]; 3], &[&[[1.0, 2.0]; 3]]);
    let of = |metric| forecast.metric(metric).unwrap();
    let got = [MetricName::Mae, MetricName::Mape, MetricName::Wape].map(of);
    assert_eq!(got, [Some(1.5), None, None]);
}

/// Counts near 100 million, whose single-precision neighbors are 8 apart.
#[test]
fn metric_of_large_counts_is_exact() {
    let actual: Vec<[f64; 2]> = (0..50).map(|t| [1e8 + f64::from(7 * t), 1e15 + f64::from(3 * t)]).collect();
    let made: Vec<[f64; 2]> = actual.iter().map(|[a, b]| [a - 7.0, b - 3.0]).collect();
    let forecast = forecast(&actual, &[&made]);
    assert_eq!(forecast.columns(MetricName::Mae).unwrap(), [7.0, 3.0]);
}

#[test]
fn counts_of_several_steps_leave_out_no_complete_window() {
    let first = [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [NAN, NAN]];
    let second = [[NAN, NAN], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]];
    let forecast = forecast(&[[1.0, 1.0]; 4], &[&first, &second]);
    assert_eq!(forecast.counts().unwrap(), Counts { compared: 12, nonzero: 12, missing: 0 });
}

#[test]
fn only_where_removes_what_the_other_does_not_forecast() {
    let (one, other) = ([[1.0, 2.0], [3.0, 4.0]], [[NAN, 1.0], [1.0, 1.0]]);
    let actual = [[0.0, 0.0]; 2];
    let kept = forecast(&actual, &[&one]).only_where(&forecast(&actual, &[&other])).unwrap();
    assert_eq!(kept.columns(MetricName::Mae).unwrap(), [3.0, 3.0]);
}

/// A season of 2 rows: the differences of column a are 1 and 3, and column b repeats.
#[test]
fn mase_scales_are_seasonal_differences_of_the_training_split_per_column() {
    let series = series(&[[1.0, 5.0], [NAN, 6.0], [2.0, 5.0], [4.0, 6.0], [5.0, 5.0], [1e9, 1e9]]);
    let scales = MaseScales::new(&series, 5, Some(2)).unwrap();
    assert_eq!(scales, MaseScales { season: 2, columns: vec![2.0, 0.0] });
    let scaled = scales.scaled(&[4.0, 1.0]);
    assert!(scaled[0] == 2.0 && scaled[1].is_nan(), "{scaled:?}");
    for season in [None, Some(5), Some(usize::MAX)] {
        let scales = MaseScales::new(&series, 5, season).unwrap();
        assert_eq!(scales, MaseScales { season: 1, columns: vec![1.5, 1.0] }, "{season:?}");
    }
    let scales = MaseScales::new(&series, 1, Some(2)).unwrap();
    assert!(scales.columns.iter().all(|scale| scale.is_nan()), "{scales:?}");
}
