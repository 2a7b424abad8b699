//! A property of dates anywhere in the calendar, also at its ends: they are read, continued and plotted without a panic.

use std::path::Path;

use chrono::{Days, Months, NaiveDate, NaiveDateTime, TimeDelta};
use proptest::prelude::*;

use super::properties::cases;
use crate::report::plots::{self, PlotLabels};
use crate::time_series::{CsvConfig, Series, parse_csv};

/// Returns dates near the places where calendars end or change their form, at most `reach` days away.
fn base(reach: i64) -> impl Strategy<Value = NaiveDateTime> {
    let year = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap().into();
    let places = vec![NaiveDateTime::MIN, NaiveDateTime::MAX, year(-9999), year(0), year(1970), year(10_000)];
    (proptest::sample::select(places), -reach..=reach, 0..86_400_000i64).prop_map(|(place, days, millis)| {
        let near = |delta| place.checked_add_signed(delta).or(place.checked_sub_signed(delta));
        near(TimeDelta::days(days) + TimeDelta::milliseconds(millis)).unwrap_or(place)
    })
}

/// Returns the text of a series of dates, from `first` on until the end of the calendar.
fn labels(first: NaiveDateTime, form: usize, step: u32, rows: u32) -> Vec<String> {
    const FORMS: [&str; 5] =
        ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%.f", "%Y/%m/%d %H:%M", "%Y-%m", "%Y-%m-%d %H:%M:%S%.fZ"];
    let date = |row: u32| match form % 3 {
        0 => first.checked_add_months(Months::new(row * step)),
        1 => first.checked_add_days(Days::new(u64::from(row * step))),
        _ => first.checked_add_signed(TimeDelta::seconds(i64::from(row * step))),
    };
    (0..rows).map_while(date).map(|date| date.format(FORMS[form % 5]).to_string()).collect()
}

/// Reads the rows that are later than those before them. Returns the series and the labels of these rows.
fn read(labels: &[String]) -> Option<(Series, Vec<String>)> {
    let mut ascending = labels.to_vec();
    ascending.dedup();
    let text: String = ascending.iter().enumerate().map(|(row, label)| format!("{label},{row}\n")).collect();
    let config = CsvConfig { time_column: vec!["0".into()], header: Some(false), ..CsvConfig::default() };
    Some((parse_csv(text.as_bytes(), &config, Path::new("dates.csv")).unwrap(), ascending))
}

fn plot(series: &Series, folder: &Path) {
    let labels = PlotLabels { title: "dates", x: "time", x_is_date: true, y: "value" };
    let columns = [("v".to_owned(), series.column(0).unwrap())];
    plots::series(&folder.join("plot"), &labels, &series.timestamps.numbers(), &columns).unwrap();
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn dates_anywhere_in_the_calendar_are_read_and_continued(
        first in base(800), form in 0..15usize, step in 1..500u32, rows in 1..12u32,
        count in 1..6usize, stride in prop_oneof![4 => 1..4usize, 1 => any::<usize>()],
    ) {
        let Some((series, labels)) = read(&labels(first, form, step, rows)) else { return Ok(()) };
        let times = &series.timestamps;
        let cut = series.notes.iter().any(|note| note.contains("cut to microseconds"));
        // Rows that are missing are inserted.
        let inserted = series.len() > labels.len();
        prop_assert!(cut || inserted || times.labels() == labels, "{:?} {:?}", times.labels(), labels);
        let _ = times.season();
        if let Some(after) = times.after(count, stride) {
            prop_assert_eq!(after.labels().len(), count);
            let last = times.numbers().last().copied();
            prop_assert!(after.numbers().first() > last.as_ref());
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn dates_anywhere_in_the_calendar_are_plotted(
        first in base(2000), form in 0..15usize, step in 1..100_000u32, rows in 1..12u32,
    ) {
        let folder = tempfile::tempdir().unwrap();
        if let Some((series, _)) = read(&labels(first, form, step, rows)) {
            plot(&series, folder.path());
        }
    }
}

#[test]
fn dates_from_one_end_of_the_calendar_to_the_other_are_plotted() {
    let folder = tempfile::tempdir().unwrap();
    let ends = [NaiveDateTime::MIN, NaiveDateTime::MAX].map(|date| date.format("%Y-%m-%d").to_string());
    let (series, _) = read(&ends).unwrap();
    assert_eq!(series.len(), 2);
    plot(&series, folder.path());
    let svg = std::fs::read_to_string(folder.path().join("plot.svg")).unwrap();
    assert!(svg.contains("-01-01<") || svg.contains("-12-31<"), "{svg}");
}
