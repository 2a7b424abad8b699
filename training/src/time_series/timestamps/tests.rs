use super::*;

mod files;

/// Reads the cells of a column, with the values 0, 1, 2, ....
fn arranged(cells: &[&str], config: &TimeConfig) -> Result<Arranged, String> {
    let mut reader = TimeReader::new(config).map_err(|error| error.to_string())?;
    cells.iter().try_for_each(|cell| reader.push(cell))?;
    let values = (0..cells.len()).map(|row| row as f64).collect();
    let arranged = reader.finish().and_then(|raw| arrange(raw, values, 1, config, None));
    arranged.map_err(|TimeProblem { row, message }| format!("{row:?}: {message}"))
}

pub(super) fn time(cells: &[&str]) -> Timestamps {
    arranged(cells, &TimeConfig::default()).unwrap().timestamps
}

#[test]
fn regular_timestamps_keep_their_form_and_continue() {
    for (cells, next) in [
        (&["0", "1", "2"][..], ["3", "4"]),
        (&["1949", "1951", "1953"], ["1955", "1957"]),
        (&["0", "0.1", "0.2"], ["0.3", "0.4"]),
        (&["1600000000.1", "1600000000.2", "1600000000.3"], ["1600000000.4", "1600000000.5"]),
        (&["2024-02-27", "2024-02-28"], ["2024-02-29", "2024-03-01"]),
        (&["2024-01-31", "2024-02-29", "2024-03-31"], ["2024-04-30", "2024-05-31"]),
        (&["2023-02-28", "2023-03-31", "2023-04-30"], ["2023-05-31", "2023-06-30"]),
        (&["2023-11-15", "2024-02-15", "2024-05-15"], ["2024-08-15", "2024-11-15"]),
        (&["1949-11", "1949-12", "1950-01"], ["1950-02", "1950-03"]),
        (&["1949/11", "1949/12", "1950/01"], ["1950/02", "1950/03"]),
        (&["2024-01", "2024-02"], ["2024-03", "2024-04"]),
        (&["2024/12/30", "2024/12/31"], ["2025/01/01", "2025/01/02"]),
        (&["2024-01-01 23:00", "2024-01-01 23:30"], ["2024-01-02 00:00", "2024-01-02 00:30"]),
        (&["2024-01-01T00:00:00Z", "2024-01-01T06:00:00Z"], ["2024-01-01T12:00:00Z", "2024-01-01T18:00:00Z"]),
        (
            &["2024-01-01 00:00:00", "2024-01-01 00:00:00.250"],
            ["2024-01-01 00:00:00.500", "2024-01-01 00:00:00.750"],
        ),
    ] {
        let time = time(cells);
        assert_eq!(time.labels(), cells);
        let after = time.after(2, 1).unwrap_or_else(|| panic!("{cells:?} is regular"));
        assert_eq!(after.labels(), next, "{cells:?}");
    }
}

#[test]
fn season_of_each_interval_is_that_of_statsmodels() {
    let cases: &[(&[&str], Option<usize>)] = &[
        (&["2024-01", "2024-02", "2024-03"], Some(12)),
        (&["2024-01", "2024-02"], Some(12)),
        (&["2024-01-31", "2024-02-29", "2024-03-31"], Some(12)),
        (&["2023-01", "2023-04", "2023-07"], Some(4)),
        (&["2024-01", "2025-01", "2026-01"], None),
        (&["2024-01-05", "2024-01-12", "2024-01-19"], Some(52)),
        (&["2024-01-05", "2024-01-06", "2024-01-07"], Some(7)),
        (&["2024-01-05", "2024-01-07", "2024-01-09"], None),
        (&["2024-01-05 23:00", "2024-01-06 00:00", "2024-01-06 01:00"], Some(24)),
        (&["2024-01-05 23:45", "2024-01-06 00:00"], Some(96)),
        (&["2024-01-05 00:00", "2024-01-05 07:00"], None),
        (&["2024-01-05", "2024-01-08", "2024-01-09"], Some(5)),
        (&["0", "1", "2"], None),
    ];
    for (cells, season) in cases {
        assert_eq!(time(cells).season(), *season, "{cells:?}");
    }
}

#[test]
fn after_with_a_stride_skips_rows_and_ends_with_the_calendar() {
    let days = time(&["+262142-12-01", "+262142-12-06"]);
    assert_eq!(days.after(2, 2).unwrap().labels(), ["+262142-12-16", "+262142-12-26"]);
    assert_eq!(days.after(3, 2), None);
    let ends = time(&["+262142-10-31", "+262142-11-30", "+262142-12-31"]);
    assert_eq!((ends.season(), ends.after(1, 1)), (Some(12), None));
    let numbers = time(&["1", "2"]);
    assert_eq!(numbers.after(2, 1 << 32).unwrap().labels(), ["4294967298", "8589934594"]);
    assert_eq!(numbers.after(2, usize::MAX), None);
    assert_eq!(days.after(1, u32::MAX as usize), None);
    assert_eq!(time(&["1e308", "1.5e308"]).after(1, 1), None);
}

#[test]
fn irregular_timestamps_have_no_step_and_no_continuation() {
    for cells in
        [&["0", "1", "3.5"][..], &["5"], &["2024-01-05", "2024-01-08", "2024-01-19"], &["2024-01-05"]]
    {
        assert_eq!((time(cells).frequency(), time(cells).after(1, 1)), (None, None), "{cells:?}");
    }
}

#[test]
fn timestamps_that_cannot_be_read_are_errors_with_the_flag_that_helps() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["1", "1"], &["Some(1)", "the same timestamp", "--duplicates"]),
        (&["1", "3", "2"], &["Some(2)", "2 is earlier than 3", "--sort"]),
        (&["1", "x"], &["is not a number"]),
        (&["2024-01-02", "2024-02-30"], &["no date of the calendar"]),
        (&["2024-01-02", "2024/01/03"], &["is not a date of the form %Y-%m-%d"]),
        (&["2024-10-27 02:00", "2024-10-27 02:00"], &["--time_zone if clocks were set back"]),
        (
            &["01/02/2024", "01/03/2024"],
            &["2024-02-01 by %d/%m/%Y and 2024-01-02 by %m/%d/%Y", "--time_format %d/%m/%Y"],
        ),
        (&["01/02/24", "02/02/24"], &["--time_format %d/%m/%y"]),
        (&["20240131", "20240132"], &["no date of the calendar", "--time_format number"]),
        (&["202312", "202313"], &["no date of the calendar", "--time_format number"]),
        (&["45292", "45293"], &["--time_format excel", "--time_format number"]),
        (&["Jan-05", "Feb-05"], &["a day without a year", "--time_format %b-%y"]),
        (&["1/15", "2/15"], &["a day without a year"]),
        (&["2009/10", "2010/11"], &["a year that ends in the next one"]),
        (&["2024010100", "2024010101"], &["epoch_s", "%Y%m%d%H"]),
        (&["2024-01-01", "2024-01-01"], &["a column of the time of day"]),
        (&["yesterday"], &["neither a number nor a date"]),
        (&["NaN"], &["neither a number nor a date"]),
        (&["2024-13-01"], &["expected"]),
    ];
    for (cells, parts) in cases {
        let error = arranged(cells, &TimeConfig::default()).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{cells:?}: {error}");
    }
}

/// Returns days, each as `format`.
fn days(count: i64, format: &str) -> Vec<String> {
    let first = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    (0..count).map(|day| (first + chrono::TimeDelta::days(day)).format(format).to_string()).collect()
}

fn hours(first: &str, count: i64, format: &str) -> Vec<String> {
    let first = chrono::NaiveDateTime::parse_from_str(first, "%Y-%m-%d %H:%M").unwrap();
    (0..count).map(|hour| (first + chrono::TimeDelta::hours(hour)).format(format).to_string()).collect()
}

#[test]
fn days_of_each_form_are_read_and_continued_in_it() {
    for format in [
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%Y%m%d",
        "%d.%m.%Y",
        "%-d.%-m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%-m/%-d/%Y",
        "%d-%m-%Y",
        "%b %d %Y",
        "%d-%b-%Y",
        "%B %-d, %Y",
        "%d %B %Y",
        "%a, %d %b %Y",
        "%Y-%m-%d 00:00:00",
        "%Y/%m/%d 00:00:00",
        "%Y-%m-%dT00:00:00Z",
        "%Y-%m-%dT00:00:00+02:00",
        "%Y-%m-%d 12:00 AM",
        "%m/%d/%Y 12:00:00 AM",
        "%G-W%V-%u",
    ] {
        let all = days(62, format);
        let cells: Vec<&str> = all[..60].iter().map(String::as_str).collect();
        let time = time(&cells);
        assert_eq!(time.labels(), cells, "{format}");
        assert_eq!(time.season(), Some(7), "{format}");
        assert_eq!(time.after(2, 1).unwrap().labels(), all[60..], "{format}");
    }
}

#[test]
fn periods_of_each_form_are_read_and_continued_in_it() {
    let cases: &[(&dyn Fn(i32) -> String, usize)] = &[
        (&|at| format!("{}-{:02}", 2020 + at / 12, at % 12 + 1), 12),
        (&|at| format!("{}{:02}", 2020 + at / 12, at % 12 + 1), 12),
        (&|at| format!("{:02}/{}", at % 12 + 1, 2020 + at / 12), 12),
        (&|at| format!("{}M{:02}", 2020 + at / 12, at % 12 + 1), 12),
        (&|at| format!("{}Q{}", 2000 + at / 4, at % 4 + 1), 4),
        (&|at| format!("{} Q{}", 2000 + at / 4, at % 4 + 1), 4),
        (&|at| format!("{}-Q{}", 2000 + at / 4, at % 4 + 1), 4),
        (&|at| format!("Q{} {}", at % 4 + 1, 2000 + at / 4), 4),
        (&|at| format!("2023-W{:02}", at + 1), 52),
        (&|at| (1_704_067_200 + i64::from(at) * 3600).to_string(), 24),
        (&|at| (1_704_067_200_000 + i64::from(at) * 3_600_000).to_string(), 24),
    ];
    for (label, season) in cases {
        let all: Vec<String> = (0..50).map(label).collect();
        let cells: Vec<&str> = all[..48].iter().map(String::as_str).collect();
        let time = time(&cells);
        assert_eq!((time.labels(), time.season()), (all[..48].to_vec(), Some(*season)), "{}", all[0]);
        assert_eq!(time.after(2, 1).unwrap().labels(), all[48..], "{}", all[0]);
    }
}

#[test]
fn time_format_decides_where_a_form_is_not_certain() {
    for (format, cells, next) in [
        ("%d/%m/%Y", &["01/02/2024", "02/02/2024"][..], "03/02/2024"),
        ("%d/%m/%y", &["01/02/24", "02/02/24"], "03/02/24"),
        ("excel", &["45292", "45293"], "45294"),
        ("number", &["20240131", "20240132"], "20240133"),
        ("iso", &["2024-01-31", "2024-02-29"], "2024-03-31"),
        ("epoch_s", &["0", "3600"], "7200"),
    ] {
        let config = TimeConfig { time_format: Some(format.into()), ..TimeConfig::default() };
        let time = arranged(cells, &config).unwrap().timestamps;
        assert_eq!(time.after(1, 1).unwrap().labels(), [next], "{format}");
    }
    for format in ["%d/%m", "%Q", "x"] {
        let config = TimeConfig { time_format: Some(format.into()), ..TimeConfig::default() };
        assert!(arranged(&["01/02"], &config).unwrap_err().contains("time_format"), "{format}");
    }
}

#[test]
fn missing_rows_are_inserted_and_noted() {
    let mut cells = days(60, "%Y-%m-%d");
    cells.drain(40..43);
    cells.remove(20);
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    let Arranged { timestamps, values, notes } = arranged(&cells, &TimeConfig::default()).unwrap();
    assert_eq!(timestamps.labels(), days(60, "%Y-%m-%d"));
    let missing: Vec<usize> = (0..60).filter(|&row| values[row].is_nan()).collect();
    assert_eq!((missing, timestamps.season()), (vec![20, 40, 41, 42], Some(7)));
    assert_eq!(notes, ["daily, 4 of 60 rows are missing, after 2024-01-20, 2024-02-09 (3 rows)"]);
}

#[test]
fn business_days_continue_on_weekdays() {
    let all: Vec<String> = days(40, "%a %Y-%m-%d").into_iter().filter(|day| !day.starts_with('S')).collect();
    let cells: Vec<&str> = all.iter().map(|day| &day[4..]).collect();
    let time = time(&cells[..25]);
    assert_eq!((time.season(), time.frequency().unwrap().to_string()), (Some(5), "business days".into()));
    assert_eq!(time.after(3, 1).unwrap().labels(), &cells[25..28]);
}

#[test]
fn local_hours_of_a_time_zone_continue_when_clocks_are_set() {
    let config = TimeConfig { time_zone: Some("Europe/Berlin".into()), ..TimeConfig::default() };
    let mut spring = hours("2024-03-30 00:00", 60, "%Y-%m-%d %H:%M");
    spring.retain(|hour| hour != "2024-03-31 02:00");
    let cells: Vec<&str> = spring.iter().map(String::as_str).collect();
    let read = arranged(&cells, &config).unwrap();
    assert_eq!((read.timestamps.season(), read.notes.len()), (Some(24), 0));
    assert_eq!(time(&cells).len(), 60); // without a zone, the lost hour is a gap
    let at = cells.iter().position(|hour| *hour == "2024-03-31 01:00").unwrap();
    let next = arranged(&cells[..=at], &config).unwrap().timestamps.after(1, 1).unwrap();
    assert_eq!(next.labels(), ["2024-03-31 03:00"]);

    let mut autumn = hours("2024-10-26 00:00", 40, "%Y-%m-%d %H:%M");
    let at = autumn.iter().position(|hour| hour == "2024-10-27 02:00").unwrap();
    autumn.insert(at, "2024-10-27 02:00".into());
    let cells: Vec<&str> = autumn.iter().map(String::as_str).collect();
    let read = arranged(&cells, &config).unwrap();
    assert_eq!(
        (read.timestamps.labels(), read.timestamps.season(), read.notes.len()),
        (autumn.clone(), Some(24), 0)
    );
    let lost = arranged(&["2024-03-31 01:00", "2024-03-31 02:30"], &config).unwrap_err();
    assert!(lost.contains("does not exist in Europe/Berlin"), "{lost}");
    let unknown = TimeConfig { time_zone: Some("Europe/Nowhere".into()), ..TimeConfig::default() };
    assert!(arranged(&cells, &unknown).unwrap_err().contains("time_zone"));
}

#[test]
fn expected_frequency_is_that_of_a_few_rows_if_it_fits_as_well() {
    let of = |cells: &[&str], expected: &str| {
        let mut reader = TimeReader::new(&TimeConfig::default()).unwrap();
        cells.iter().try_for_each(|cell| reader.push(cell)).unwrap();
        let (raw, values) = (reader.finish().unwrap(), vec![0.0; cells.len()]);
        let arranged = arrange(raw, values, 1, &TimeConfig::default(), Some(expected.parse().unwrap()));
        arranged.unwrap().timestamps.frequency().unwrap().to_string()
    };
    let week = ["2024-01-01", "2024-01-02", "2024-01-03"];
    assert_eq!(of(&week, "B"), "business days");
    assert_eq!(of(&week, "h"), "daily");
    assert_eq!(of(&["2024-01-01", "2024-02-01", "2024-03-01"], "D"), "monthly");
    assert_eq!(of(&["2024-01-01", "2024-02-01"], "QS"), "monthly");
}

#[test]
fn sort_and_duplicates_arrange_the_rows() {
    let sort = TimeConfig { sort: true, ..TimeConfig::default() };
    let sorted = arranged(&["2024-01-03", "2024-01-01", "2024-01-02"], &sort).unwrap();
    assert_eq!(sorted.values, [1.0, 2.0, 0.0]);
    let reversed = arranged(&["2024-01-03", "2024-01-02", "2024-01-01"], &TimeConfig::default()).unwrap();
    assert_eq!((reversed.values, reversed.notes.len()), (vec![2.0, 1.0, 0.0], 1));
    for (duplicates, expected) in
        [(Duplicates::First, [0.0, 1.0]), (Duplicates::Last, [0.0, 2.0]), (Duplicates::Mean, [0.0, 1.5])]
    {
        let config = TimeConfig { duplicates, ..TimeConfig::default() };
        let merged = arranged(&["2024-01-01", "2024-01-02", "2024-01-02"], &config).unwrap();
        assert_eq!(merged.values, expected, "{duplicates:?}");
        assert!(merged.notes[0].contains("1 further row"), "{:?}", merged.notes);
    }
}

#[test]
fn frequency_that_the_rows_do_not_fit_is_an_error() {
    let of = |frequency: &str, cells: &[&str]| {
        let config = TimeConfig { frequency: Some(frequency.parse().unwrap()), ..TimeConfig::default() };
        arranged(cells, &config)
    };
    assert_eq!(of("D", &["2024-01-01", "2024-01-08"]).unwrap().values.len(), 8);
    for (frequency, cells, part) in [
        ("2D", &["2024-01-01", "2024-01-02"][..], "Some(1)"),
        ("s", &["2024-01-01", "2025-01-01"], "longer --frequency"),
        ("B", &["2024-01-05", "2024-01-06"], "not on the grid"),
        ("D", &["1", "2"], "timestamps are numbers"),
        ("0.5", &["2024-01-05", "2024-01-06"], "timestamps are dates"),
    ] {
        let error = of(frequency, cells).unwrap_err();
        assert!(error.contains(part), "{frequency}: {error}");
    }
}
