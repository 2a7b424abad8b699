//! The examples, as a test runs them.

#[path = "../../examples/course.rs"]
#[expect(dead_code, reason = "the test calls what its main calls")]
mod course;

use std::fs;

#[test]
fn course_prints_windows_and_figures_and_writes_the_plot() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let figures = course::course(folder.path(), &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    for lines in [
        "  0 1 2 3 4\n  1 2 3 4 5\n  2 3 4 5 6\n",
        "  6 7 8 9\n  7 8 9\n  8 9\n  9\n",
        "  0 1 2 3 | 4\n  1 2 3 4 | 5\n",
        "  5 6 7 8 | 9\n\n",
        "1461 values and begins with 52.48357 49.35275 53.314735\n",
        "1000 values to train, 461 to validate",
    ] {
        assert!(out.contains(lines), "no {lines:?} in {out}");
    }
    let expected = [
        ("naive", 5.938),
        ("moving average of 30", 7.142),
        ("differencing", 5.839),
        ("differencing, smooth past", 4.569),
    ];
    let (dnn, baselines) = figures.split_last().unwrap();
    for ((name, error), (expected_name, expected)) in baselines.iter().zip(expected) {
        assert!(*name == expected_name && (error - expected).abs() < 6e-4, "{name}: {error}");
    }
    assert_eq!(baselines.len(), expected.len());
    // Keras has 5.01 with these settings (median of several seeds).
    assert!(dnn.0 == "dnn" && (4.9..5.3).contains(&dnn.1), "{dnn:?}");

    let rows = fs::read_to_string(folder.path().join("forecast.csv")).unwrap();
    assert_eq!((rows.lines().next(), rows.lines().count()), (Some("time,actual,forecast"), 462));
    for plot in ["forecast.png", "forecast.svg"] {
        assert!(fs::metadata(folder.path().join(plot)).unwrap().len() > 10_000, "{plot}");
    }
}
