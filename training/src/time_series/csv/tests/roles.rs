//! Tests of the roles of columns: targets and covariates.

use super::*;
use crate::time_series::Calendar;

const FILE: &str =
    "day,sales,promo,heat,note\n2024-01-01,1,0,5,x\n2024-01-02,2,1,6,y\n2024-01-03,,1,,z\n2024-01-04,,0,7,\n";

fn roles(target: &str, past: &str, future: &str) -> CsvConfig {
    let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let mut config = CsvConfig::default();
    config.roles.target = list(target);
    config.roles.past_covariates = list(past);
    config.roles.future_covariates = list(future);
    config
}

fn rows(values: &tch::Tensor) -> Vec<Vec<f64>> {
    Vec::try_from(values).unwrap()
}

#[test]
fn columns_with_roles_are_split_into_targets_and_covariates() {
    let series = parsed(FILE, &roles("sales", "heat", "promo")).unwrap();
    assert_eq!((series.names.as_slice(), series.len()), (&["sales".to_owned()][..], 2));
    assert_eq!(rows(&series.values), [[1.0], [2.0]]);
    assert_eq!(series.timestamps.labels(), ["2024-01-01", "2024-01-02"]);
    let covariates = series.covariates().unwrap();
    assert_eq!(rows(&covariates.past), [[5.0], [6.0]]);
    assert_eq!(rows(&covariates.future), [[0.0], [1.0], [1.0], [0.0]]);
    assert_eq!(covariates.later(2).unwrap(), 2);
    let notes = series.notes.join("; ");
    assert!(
        notes.contains("the last 2 rows have no target") && notes.contains("of 4 rows: heat 1"),
        "{notes}"
    );
    // Without future covariates, rows without a target are missing values.
    let series = parsed(FILE, &roles("sales", "heat", "")).unwrap();
    assert_eq!((series.len(), series.missing().unwrap()), (4, 2));
}

#[test]
fn targets_are_all_value_columns_without_another_role() {
    let file = FILE.replace(['x', 'y', 'z'], "3").replace("note", "tax");
    let series = parsed(&file, &roles("", "heat", "promo")).unwrap();
    assert_eq!(series.names, ["sales", "tax"]);
    let values = CsvConfig { value_columns: vec!["heat".into(), "sales".into()], ..roles("", "", "promo") };
    assert_eq!(parsed(&file, &values).unwrap().names, ["heat", "sales"]);
    let order = parsed(&file, &roles("tax,sales", "", "heat")).unwrap();
    assert_eq!(order.names, ["tax", "sales"]);
    assert!(order.covariates().unwrap().roles.past.is_empty());
    assert!(parsed(&file, &roles("tax", "", "")).unwrap().covariates().is_none());
}

#[test]
fn impossible_roles_are_an_error_with_the_columns() {
    let with = |change: fn(&mut CsvConfig)| {
        let mut config = roles("sales", "", "");
        change(&mut config);
        config
    };
    let cases = [
        (roles("sales", "", "sales"), "column sales has two roles, --target and --future_covariates"),
        (
            roles("sales", "heat", "promo,heat"),
            "column heat has two roles, --past_covariates and --future_covariates",
        ),
        (roles("sales", "day", ""), "column day has two roles, --time_column and --past_covariates"),
        (roles("sales,sales", "", ""), "--target: column sales is listed twice"),
        (
            roles("sale", "", ""),
            "--target: found no column sale, expected one of day, sales, promo, heat, note",
        ),
        (
            roles("sales", "", "promotion"),
            "--future_covariates: found no column promotion, expected one of day, sales",
        ),
        (
            CsvConfig { value_columns: vec!["promo".into()], ..roles("sales", "", "") },
            "--target: column sales is not in --value_columns, expected one of promo",
        ),
        (
            CsvConfig { value_columns: vec!["promo".into()], ..roles("", "", "promo") },
            "found no column to forecast: all value columns are covariates",
        ),
        (roles("sales", "", "note"), "row 2, column note: found \"x\""),
        (with(|config| config.roles.calendar = vec![Calendar::Day; 2]), "--calendar: day is listed twice"),
        (
            with(|config| config.roles.fourier = ["7", "7:2"].map(|term| term.parse().unwrap()).to_vec()),
            "--fourier: the period 7 is listed twice",
        ),
    ];
    for (config, expected) in cases {
        let config = CsvConfig { time_column: vec!["day".into()], ..config };
        let error = format!("{:#}", parsed(FILE, &config).unwrap_err());
        assert!(error.contains(expected), "{error} has no {expected}");
    }
    let mut config = roles("1", "", "");
    config.roles.calendar = vec![Calendar::Month];
    let error = parsed("5,1\n6,2\n", &config).unwrap_err().to_string();
    assert!(error.contains("--calendar: found row numbers, expected dates"), "{error}");
    config.roles.calendar.clear();
    config.roles.fourier = vec!["7".parse().unwrap()];
    config.time_column = vec!["0".into()];
    let error = parsed("1,1\n6,2\n8,2\n16,3\n", &config).unwrap_err().to_string();
    assert!(error.contains("--fourier: found irregular timestamps"), "{error}");
}

#[test]
fn future_file_continues_the_series_or_is_an_error_with_the_timestamps() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = folder.path().join("future.csv");
        std::fs::write(&path, text).unwrap();
        let config = roles("sales", "", "promo");
        let past = FILE.lines().take(3).map(|line| format!("{line}\n")).collect::<String>();
        let mut series = parsed(&past, &config).unwrap();
        read_future(&config, &path, std::slice::from_mut(&mut series)).map(|()| series)
    };
    let series = read("day,other,promo\n2024-01-03,,0\n2024-01-04,,1\n2024-01-05,,1\n").unwrap();
    let covariates = series.covariates().unwrap();
    assert_eq!((series.len(), covariates.later(2).unwrap()), (2, 3));
    assert_eq!(covariates.timestamps.labels()[4], "2024-01-05");
    for (text, expected) in [
        ("day,promo\n2024-01-04,0\n2024-01-05,0\n", "found 2024-01-04, expected 2024-01-03"),
        ("day,promo\n2024-01-01,0\n2024-01-02,0\n", "found 2024-01-01, expected 2024-01-03"),
        ("day,heat\n2024-01-03,0\n", "cannot match column promo"),
        ("promo\n1\n", "found 0, expected 2024-01-03"),
    ] {
        let error = format!("{:#}", read(text).unwrap_err());
        assert!(error.contains(expected) && error.contains("future.csv"), "{error}");
    }
    let config = roles("sales", "", "promo");
    let mut series = parsed(FILE, &config).unwrap();
    let error = format!(
        "{:#}",
        read_future(&config, &folder.path().join("future.csv"), std::slice::from_mut(&mut series))
            .unwrap_err()
    );
    assert!(error.contains("found 2 rows after the last target in the file of the series too"), "{error}");
}
