//! Tests of many series in one file.

use super::*;

const BY_DAY: &str = "shop,city,day,sales\n\
    north,Oslo,2024-01-01,1\nsouth,Rome,2024-01-01,10\n\
    north,Oslo,2024-01-02,2\nsouth,Rome,2024-01-02,\n\
    north,Oslo,2024-01-04,4\nsouth,Rome,2024-01-03,30\n";

fn config(keys: &[&str], statics: &[&str]) -> CsvConfig {
    let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let mut config = CsvConfig::default();
    config.roles.series_column = list(keys);
    config.roles.static_covariates = list(statics);
    config
}

fn panel(text: &str, config: &CsvConfig) -> Result<Panel> {
    parse_panel(text.as_bytes(), config, Path::new("shops.csv"))
}

/// Returns the lines of a file in the order of its series.
fn by_shop(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].sort_by_key(|line| line.split(',').next());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn rows_of_many_series_in_any_order_are_the_same_series() {
    for text in [BY_DAY.to_owned(), by_shop(BY_DAY)] {
        let Panel { keys, statics, series, notes } = panel(&text, &config(&["shop"], &["city"])).unwrap();
        assert_eq!((keys, statics), (vec!["shop".to_owned()], vec!["city".to_owned()]));
        let names: Vec<&str> = series.iter().map(|series| series.key.as_str()).collect();
        assert_eq!(names, ["north", "south"]);
        let columns: Vec<String> =
            series.iter().map(|series| format!("{:?}", series.column(0).unwrap())).collect();
        assert_eq!(columns, ["[1.0, 2.0, NaN, 4.0]", "[10.0, NaN, 30.0]"]);
        assert_eq!(series[0].timestamps.labels()[2], "2024-01-03");
        assert_eq!(series[1].statics, ["Rome"]);
        let notes = notes.join("; ");
        assert!(notes.contains("north: daily, 1 of 4 rows is missing"), "{notes}");
    }
}

#[test]
fn several_key_columns_are_one_name() {
    let series = panel(BY_DAY, &config(&["city", "shop"], &[])).unwrap().series;
    assert_eq!((series[0].key.as_str(), series[1].key.as_str()), ("Oslo/north", "Rome/south"));
    assert_eq!(series[0].names, ["sales"]);
}

#[test]
fn impossible_keys_are_an_error_with_the_row_and_the_series() {
    let replaced = |from: &str, to: &str| BY_DAY.replacen(from, to, 1);
    let cases = [
        (
            replaced("north,Oslo,2024-01-02", ",Oslo,2024-01-02"),
            "row 4, column shop: found no name of a series",
        ),
        (
            replaced("south,Rome,2024-01-03", "south,Pisa,2024-01-03"),
            "row 7, column city: found \"Pisa\", expected \"Rome\" as in row 3 of the series south",
        ),
        (
            replaced("south,Rome,2024-01-03", "south,Rome,2024-01-02"),
            "row 7, series south: 2024-01-02 is the same timestamp",
        ),
        (replaced("2024-01-04,4", "2024-01-04,x"), "row 6, column sales: found \"x\""),
    ];
    for (text, expected) in cases {
        let error = format!("{:#}", panel(&text, &config(&["shop"], &["city"])).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
    let error = panel(BY_DAY, &config(&[], &["city"])).unwrap_err().to_string();
    assert!(error.contains("--static_covariates has no effect on one series"), "{error}");
    let error = panel(BY_DAY, &config(&["shop"], &["shop"])).unwrap_err().to_string();
    assert!(error.contains("column shop has two roles, --series_column and --static_covariates"), "{error}");
    let error = parse(BY_DAY.as_bytes(), &config(&["shop"], &["city"]), Path::new("x.csv")).unwrap_err();
    assert!(error.to_string().contains("found 2 series, expected one"), "{error}");
}

/// Clocks are set back at 3:00: both series have 02:30 twice, each in its own order.
#[test]
fn local_times_that_occur_twice_are_in_the_order_of_each_series() {
    let hours = ["01:30", "02:30", "02:30", "03:30"];
    let rows = ["a", "b"].iter().flat_map(|key| hours.map(|hour| format!("{key},2024-10-27 {hour},1\n")));
    let mut config = config(&["k"], &[]);
    config.time.time_zone = Some("Europe/Berlin".into());
    let series = panel(&("k,t,v\n".to_owned() + &rows.collect::<String>()), &config).unwrap().series;
    for series in series {
        let seconds = series.timestamps.numbers();
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 3600.0), "{}: {seconds:?}", series.key);
    }
}

/// A series of one row has the frequency of the others.
#[test]
fn frequency_is_that_of_the_longest_series() {
    let text = "k,t,v\na,2024-01-01,1\nb,2024-01-01,1\nb,2024-01-08,2\nb,2024-01-15,3\nc,2024-01-01,1\nc,2024-01-15,2\n";
    let series = panel(text, &config(&["k"], &[])).unwrap().series;
    assert_eq!(series.iter().map(Series::len).collect::<Vec<_>>(), [1, 3, 3]);
    let text = text.replace("c,2024-01-15", "c,2024-01-16");
    let error = panel(&text, &config(&["k"], &[])).unwrap_err().to_string();
    assert!(error.contains("row 7, series c: 2024-01-16 is not on the grid"), "{error}");
}
