//! Columns as they are in files: the form, the frequency, the next labels and the notes.

use super::*;

/// A column, the form and the frequency that are found, the next label, and a part of the note if there is one.
type Case = (&'static [&'static str], &'static str, &'static str, &'static str, &'static str);

fn check(cases: &[Case], config: &TimeConfig) {
    for (cells, form, frequency, next, note) in cases {
        let Arranged { timestamps: time, notes, .. } = arranged(cells, config).unwrap();
        let found = time.frequency().map_or("none".to_owned(), |frequency| frequency.to_string());
        assert_eq!((time.form().as_str(), found.as_str()), (*form, *frequency), "{cells:?}");
        assert_eq!(time.labels_of(0..1), cells[..1], "{cells:?}");
        assert_eq!(time.labels().last().unwrap(), cells.last().unwrap());
        let after = time.after(1, 1).map(|time| time.labels().concat());
        assert_eq!(after.as_deref().unwrap_or("none"), *next, "{cells:?}");
        assert!(notes.concat().contains(note) && notes.is_empty() == note.is_empty(), "{cells:?}: {notes:?}");
    }
}

#[test]
fn forms_of_dates_are_found_and_continued() {
    check(
        &[
            (&["2024 Jan 1", "2024 Jan 2"], "%Y %b %d", "daily", "2024 Jan 3", ""),
            (&["01JAN2024", "02JAN2024"], "%d%b%Y", "daily", "03JAN2024", ""),
            (&["Sat, 30 Mar 2024", "Sun, 31 Mar 2024"], "%a, %d %b %Y", "daily", "Mon, 01 Apr 2024", ""),
            (&["Jan. 30, 2024", "Jan. 31, 2024"], "%b. %d, %Y", "daily", "Feb. 01, 2024", ""),
            (&["1. May 2024", "2. May 2024"], "%d. %b %Y", "daily", "3. May 2024", ""),
            (&["2024-365", "2024-366"], "%Y-%j", "daily", "2025-001", ""),
            (&["1/30/24", "1/31/24"], "%m/%d/%y", "daily", "2/1/24", "1/30/24 is 2024-01-30"),
            (&["24-01-30", "24-01-31", "24-02-01"], "%y-%m-%d", "daily", "24-02-02", "two digits"),
            (&["30-Jan-98", "31-Jan-98"], "%d-%b-%y", "daily", "01-Feb-98", "30-Jan-98 is 1998-01-30"),
            (&["20240130", "20240131"], "%Y%m%d", "daily", "20240201", "20240130 is 2024-01-30"),
            (&["Thu 01/02/2024", "Fri 02/02/2024"], "%a %d/%m/%Y", "daily", "Sat 03/02/2024", ""),
            (&["2024W52", "2025W01"], "%GW%V", "weekly", "2025W02", ""),
            (&["W52 2020", "W53 2020"], "W%V %G", "weekly", "W01 2021", ""),
            (&["2024-01-02", "2024-01-09"], "%Y-%m-%d", "weekly", "2024-01-16", ""),
            (&["Nov-84", "Dec-84"], "%b-%y", "monthly", "Jan-85", "Nov-84 is 1984-11-01"),
            (&["December 2024", "January 2025"], "%b %Y", "monthly", "February 2025", ""),
            (&["2024M11", "2024M12"], "%YM%m", "monthly", "2025M01", ""),
            (&["2024-8", "2024-9"], "%Y-%m", "monthly", "2024-10", ""),
            (&["01.2024", "02.2024"], "%m.%Y", "monthly", "03.2024", ""),
            (&["3Q24", "4Q24"], "%qQ%y", "quarterly", "1Q25", "two digits"),
            (&["2024q3", "2024q4"], "%Yq%q", "quarterly", "2025q1", ""),
            (&["12/31/2022", "12/31/2023"], "%m/%d/%Y", "yearly", "12/31/2024", ""),
            (&["01/01/2022", "01/01/2023"], "%d/%m/%Y", "yearly", "01/01/2024", ""),
            (&["1949", "1950"], "number", "steps of 1", "1951", ""),
            (&["9999-12-31", "+10000-01-01"], "%Y-%m-%d", "daily", "+10000-01-02", ""),
        ],
        &TimeConfig::default(),
    );
}

#[test]
fn forms_of_times_are_found_and_continued() {
    check(
        &[
            (&["2024-02-29T23", "2024-03-01T00"], "%Y-%m-%dT%H", "hourly", "2024-03-01T01", ""),
            (&["20240131T2200", "20240131T2300"], "%Y%m%dT%H%M", "hourly", "20240201T0000", ""),
            (&["202401312200", "202401312300"], "%Y%m%d%H%M", "hourly", "202402010000", "form"),
            (
                &["01JAN2024:23:58:00", "01JAN2024:23:59:00"],
                "%d%b%Y:%H:%M:%S",
                "every minute",
                "02JAN2024:00:00:00",
                "",
            ),
            (
                &["01/Jan/2024:13:55:36 +0000", "01/Jan/2024:13:55:37 +0000"],
                "%d/%b/%Y:%H:%M:%S %z",
                "every second",
                "01/Jan/2024:13:55:38 +0000",
                "",
            ),
            (
                &["Mon Jan  1 00:00:00 2024", "Tue Jan  2 00:00:00 2024"],
                "%a %b %d %H:%M:%S %Y",
                "daily",
                "Wed Jan  3 00:00:00 2024",
                "",
            ),
            (
                &["1/31/2024 10:00 PM", "1/31/2024 11:00 PM"],
                "%m/%d/%Y %I:%M %p",
                "hourly",
                "2/1/2024 12:00 AM",
                "",
            ),
            (
                &["2024-01-01 9:30 a.m.", "2024-01-01 10:00 a.m."],
                "%Y-%m-%d %I:%M %p",
                "every 30 minutes",
                "2024-01-01 10:30 a.m.",
                "",
            ),
            (
                &["2024-01-01 00:00:00 UTC", "2024-01-01 06:00:00 UTC"],
                "%Y-%m-%d %H:%M:%S %z",
                "every 6 hours",
                "2024-01-01 12:00:00 UTC",
                "",
            ),
            (
                &["2024-01-01 00:00:00,250", "2024-01-01 00:00:00,500"],
                "%Y-%m-%d %H:%M:%S%.f",
                "every 250 milliseconds",
                "2024-01-01 00:00:00,750",
                "",
            ),
            (&["2024-01-01 23", "2024-01-01 24"], "%Y-%m-%d %H", "hourly", "2024-01-02 01", ""),
            (&["1704067200", "1704070800"], "epoch_s", "hourly", "1704074400", "1704067200 is 2024-01-01"),
            (&["1704067200.0", "1704153600.0"], "epoch_s", "daily", "1704240000.0", "epoch_s"),
            (
                &["1704067200000000000", "1704067201000000000"],
                "epoch_ns",
                "every second",
                "1704067202000000000",
                "epoch_ns",
            ),
            (
                &["2024-01-01 23:00:00", "2024-01-02", "2024-01-02 01:00:00"],
                "%Y-%m-%d %H:%M:%S",
                "hourly",
                "2024-01-02 02:00:00",
                "are midnight",
            ),
            (
                &["2024-01-01", "2024-01-01 12:00:00", "2024-01-02"],
                "%Y-%m-%d %H:%M:%S",
                "every 12 hours",
                "2024-01-02 12:00:00",
                "are midnight",
            ),
        ],
        &TimeConfig::default(),
    );
}

#[test]
fn columns_of_parts_are_read_by_their_names() {
    for (names, cells, form, next) in [
        (&["year", "quarter"][..], &["2023 3", "2023 4"][..], "%Y %q", "2024 1"),
        (&["year", "month"], &["2024 1", "2024 2"], "%Y %m", "2024 3"),
        (&["Year", "Month"], &["2024 Jan", "2024 Feb"], "%Y %b", "2024 Mar"),
        (&["iso_year", "iso_week"], &["2020 52", "2020 53"], "%G %V", "2021 1"),
        (&["year", "month", "day"], &["2024 2 28", "2024 2 29"], "%Y %m %d", "2024 3 1"),
        (&["day", "month", "year"], &["1 2 2024", "2 2 2024"], "%d %m %Y", "3 2 2024"),
        (&["date", "time"], &["2024-01-31 22:00", "2024-01-31 23:00"], "%Y-%m-%d %H:%M", "2024-02-01 00:00"),
        (&["date", "hour"], &["2024-01-31 8", "2024-01-31 9"], "%Y-%m-%d %H", "2024-01-31 10"),
    ] {
        let mut reader = TimeReader::new(&TimeConfig::default()).unwrap().named(names);
        cells.iter().try_for_each(|cell| reader.push(cell)).unwrap();
        let raw = reader.finish().unwrap();
        let time = arrange(raw, vec![0.0; cells.len()], 1, &TimeConfig::default(), None).unwrap().timestamps;
        assert_eq!(
            (time.labels(), time.form().as_str()),
            (cells.iter().map(ToString::to_string).collect(), form)
        );
        assert_eq!(time.after(1, 1).unwrap().labels(), [next], "{names:?}");
    }
}

#[test]
fn days_of_months_keep_their_rule() {
    for (cells, next) in [
        (&["2024-01-31", "2024-02-29", "2024-03-29", "2024-04-30"][..], ["2024-05-31", "2024-06-28"]),
        (&["2024-01-01", "2024-02-01", "2024-04-01", "2024-05-01"], ["2024-06-01", "2024-07-01"]),
        (&["2024-01-01", "2024-02-01", "2024-05-01", "2024-06-03"], ["2024-07-01", "2024-08-01"]),
        (&["2024-01-30", "2024-02-29", "2024-03-30"], ["2024-04-30", "2024-05-30"]),
        (&["2023-10-31", "2024-01-31"], ["2024-04-30", "2024-07-31"]),
    ] {
        assert_eq!(time(cells).after(2, 1).unwrap().labels(), next, "{cells:?}");
    }
}

#[test]
fn forms_that_are_not_certain_are_errors_with_each_reading() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["1994 1", "1994 2"], &["1994-02-01 by %Y %m and 1994-04-01 by %Y %q", "\"%Y %q\""]),
        (&["1/1/2024 9:00", "1/1/2024 10:00"], &["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"]),
        (&["2024.01", "2024.02"], &["--time_format %Y.%m or --time_format number"]),
        (&["240130", "240131"], &["2024-01-30 by %y%m%d", "--time_format number"]),
        (&["24-01-01", "24-01-02"], &["%y-%m-%d", "%d-%m-%y"]),
        (&["45292.5", "45293.5"], &["2024-01-01 12:00:00 by excel", "number"]),
        (&["01/13/2024", "13/01/2024"], &["no date of the calendar", "%m/%d/%Y"]),
        (&["Mon, 01/02/2024"], &["no date of the calendar"]),
        (&["2024-01-01 00:00", "x"], &["%Y-%m-%d %H:%M"]),
        (&["2024年1月"], &["neither a number nor a date"]),
        (&["12:00"], &["neither a number nor a date"]),
        (&["2024-01-01 05h"], &["neither a number nor a date"]),
    ];
    for (cells, parts) in cases {
        let error = arranged(cells, &TimeConfig::default()).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{cells:?}: {error}");
    }
    let certain = ["100001", "100002"].iter().chain(&["10000001", "10000002"]);
    assert!(certain.collect::<Vec<_>>().chunks(2).all(|cells| !time(&[cells[0], cells[1]]).is_date()));
}

#[test]
fn excel_days_around_the_leap_day_that_does_not_exist_are_right() {
    let of = |format: &str, cells: &[&str]| {
        arranged(cells, &TimeConfig { time_format: Some(format.into()), ..TimeConfig::default() })
    };
    let day = |cell: &str| of("excel", &[cell]).unwrap().timestamps.numbers()[0] / 86_400.0;
    assert_eq!((day("1"), day("59"), day("61"), day("45292")), (-25_567.0, -25_509.0, -25_508.0, 19_723.0));
    assert!(of("excel", &["60"]).unwrap_err().contains("no date of the calendar"));
    let hours = of("excel", &["45292.9583333333", "45293"]).unwrap().timestamps;
    assert_eq!(
        (hours.season(), hours.after(1, 1).unwrap().labels()),
        (Some(24), vec!["45293.0416666667".into()])
    );
}

#[test]
fn written_offsets_continue_with_the_last_one() {
    check(
        &[
            (
                &["2024-03-30T00:00:00+01:00", "2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"],
                "%Y-%m-%dT%H:%M:%S%z",
                "daily",
                "2024-04-02T00:00:00+02:00",
                "",
            ),
            (
                &["2024-10-27T02:00:00+0200", "2024-10-27T02:00:00+0100", "2024-10-27T03:00:00+0100"],
                "%Y-%m-%dT%H:%M:%S%z",
                "hourly",
                "2024-10-27T04:00:00+0100",
                "",
            ),
        ],
        &TimeConfig::default(),
    );
    let zone = TimeConfig { time_zone: Some("Europe/Berlin".into()), ..TimeConfig::default() };
    check(
        &[
            (
                &["2024-10-26T00:00:00+02:00", "2024-10-27T00:00:00+02:00"],
                "%Y-%m-%dT%H:%M:%S%z",
                "daily",
                "2024-10-28T00:00:00+01:00",
                "",
            ),
            (
                &["2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z"],
                "%Y-%m-%dT%H:%M:%S%z",
                "daily",
                "2024-03-31T22:00:00Z",
                "",
            ),
            (
                &["2024-03-30 12:00", "2024-03-30 18:00", "2024-03-31 00:00"],
                "%Y-%m-%d %H:%M",
                "every 6 hours",
                "2024-03-31 07:00",
                "",
            ),
            (&["2024-03-30", "2024-03-31"], "%Y-%m-%d", "daily", "2024-04-01", "has no effect"),
        ],
        &zone,
    );
}

#[test]
fn hours_that_occur_twice_are_told_apart_in_any_order() {
    let zone = TimeConfig { time_zone: Some("Europe/Berlin".into()), ..TimeConfig::default() };
    let rows = [
        "2024-10-27 01:30",
        "2024-10-27 02:00",
        "2024-10-27 02:30",
        "2024-10-27 02:00",
        "2024-10-27 02:30",
        "2024-10-27 03:00",
    ];
    let ascending = arranged(&rows, &zone).unwrap();
    assert_eq!(
        (ascending.timestamps.labels().as_slice(), ascending.values.len()),
        (&rows.map(String::from)[..], 6)
    );
    let numbers = ascending.timestamps.numbers();
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] == 1800.0), "{numbers:?}");
    let mut reversed = rows;
    reversed.reverse();
    let descending = arranged(&reversed, &zone).unwrap();
    assert_eq!(descending.timestamps, ascending.timestamps);
    let shuffled = [rows[5], rows[1], rows[0], rows[2], rows[4], rows[3]];
    let sorted = arranged(&shuffled, &TimeConfig { sort: true, ..zone }).unwrap();
    assert_eq!(
        (sorted.timestamps, sorted.values),
        (ascending.timestamps, vec![2.0, 1.0, 3.0, 5.0, 4.0, 0.0])
    );
    let unknown = arranged(&rows, &TimeConfig::default()).unwrap_err();
    assert!(unknown.contains("--time_zone"), "{unknown}");
}

#[test]
fn a_lost_hour_without_a_time_zone_is_a_gap_that_names_the_flag() {
    let notes = |cells: &[&str]| arranged(cells, &TimeConfig::default()).unwrap().notes.concat();
    let lost = notes(&["2024-03-31 00:00", "2024-03-31 01:00", "2024-03-31 03:00"]);
    assert_eq!(
        lost,
        "hourly, 1 of 4 rows is missing, after 2024-03-31 01:00; if clocks were set then, try --time_zone"
    );
    let gap = notes(&["2024-03-30 00:00", "2024-03-30 01:00", "2024-03-30 03:00"]);
    assert!(!gap.contains("time_zone"), "{gap}");
}

#[test]
fn duplicates_of_descending_rows_are_in_the_order_of_the_file() {
    let cells = ["2024-01-02", "2024-01-02", "2024-01-01"];
    for (duplicates, expected) in [(Duplicates::First, [2.0, 0.0]), (Duplicates::Last, [2.0, 1.0])] {
        let config = TimeConfig { duplicates, ..TimeConfig::default() };
        assert_eq!(arranged(&cells, &config).unwrap().values, expected);
    }
    let error = arranged(&cells, &TimeConfig::default()).unwrap_err();
    assert!(error.starts_with("Some(1): 2024-01-02 is the same timestamp as 1 row above"), "{error}");
}
