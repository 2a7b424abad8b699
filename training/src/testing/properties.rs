//! Properties that hold for random inputs. The inputs are the same in every run; `PROPTEST_RNG_SEED` chooses others, and
//! `PROPTEST_CASES` how many.

use std::path::Path;

use chrono::{DateTime, Months, NaiveDate, NaiveDateTime, TimeDelta};
use clap::{Args, Command, FromArgMatches};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::Tensor;
use text_recognizer::data::Dataset;

use crate::format;
use crate::time_series::{
    CsvConfig, Duplicates, Layout, ShuffleBuffer, SplitPoint, TimeConfig, TimeReader, Timestamps,
    WindowDataset, arrange, parse_csv, windows,
};
use crate::trainer::{BatchLimit, BudgetConfig};

/// Returns the settings of a property, which is tested on `cases` inputs unless the environment chooses.
pub(super) fn cases(cases: u32) -> ProptestConfig {
    let from_environment = ProptestConfig::default();
    let given = |name: &str| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if given("PROPTEST_CASES") { from_environment.cases } else { cases },
        rng_seed: if given("PROPTEST_RNG_SEED") { from_environment.rng_seed } else { RngSeed::Fixed(1) },
        failure_persistence: None,
        ..from_environment
    }
}

mod windowing {
    use super::*;

    /// A size from 1 on: mostly a small one, at times one that no series is long enough for.
    fn size() -> impl Strategy<Value = i64> {
        prop_oneof![6 => 1..6i64, 1 => (i64::MAX - 3)..=i64::MAX, 1 => 1..=i64::MAX]
    }

    /// Returns the positions of the values of a window that begins at `start`, as far as the series reaches.
    fn positions(length: i64, start: i64, size: i64, stride: i64) -> Vec<i64> {
        let at = |step: i64| stride.checked_mul(step)?.checked_add(start).filter(|&at| at < length);
        (0..size).map_while(at).collect()
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn windows_of_any_sizes_are_those_of_the_definition(
            length in 0..12i64, size in size(), shift in size(), stride in size(), drop_remainder: bool,
        ) {
            let series = Tensor::arange(length, tch::kind::INT64_CPU);
            let got = windows(&series, size, shift, stride, drop_remainder).unwrap();
            let got: Vec<Vec<i64>> = got.iter().map(|window| Vec::try_from(window).unwrap()).collect();
            let starts = std::iter::successors(Some(0i64), |start| start.checked_add(shift));
            let expected: Vec<Vec<i64>> = starts
                .take_while(|&start| start < length)
                .map(|start| positions(length, start, size, stride))
                .filter(|window| !drop_remainder || window.len() as i64 == size)
                .collect();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn window_dataset_of_any_layout_is_that_of_the_definition(
            length in 1..30i64, features in 1..4i64, window_size in size(), horizon in size(), shift in size(),
            stride in size(), sequence: bool,
        ) {
            let horizon = if sequence { 1 } else { horizon };
            let [w, h, s, d] = [window_size, horizon, shift, stride].map(|size| size as usize);
            let layout = Layout { window_size: w, horizon: h, shift: s, stride: d, sequence };
            let series = Tensor::arange(length * features, tch::kind::INT64_CPU).view([length, features]);
            let starts = std::iter::successors(Some(0i64), |start| start.checked_add(shift));
            // A window and its target, as positions in the series.
            let expected: Vec<(Vec<i64>, Vec<i64>)> = starts
                .take_while(|&start| start < length)
                .filter_map(|start| {
                    let steps = window_size.checked_add(horizon)?;
                    let all = positions(length, start, steps, stride);
                    (all.len() as i64 == steps).then(|| {
                        let y = if sequence { &all[1..] } else { &all[w..] };
                        (all[..w].to_vec(), y.to_vec())
                    })
                })
                .collect();
            let Ok(dataset) = WindowDataset::new(&series, layout) else {
                prop_assert!(expected.is_empty(), "{:?}: {:?} is an error", layout, expected);
                return Ok(());
            };
            prop_assert_eq!(dataset.len(), expected.len());
            let rows = |at: &[i64]| series.index_select(0, &Tensor::from_slice(at));
            let (x, y) = dataset.slice(0, dataset.len() as i64).unwrap();
            for (window, (inputs, targets)) in expected.iter().enumerate() {
                prop_assert_eq!(x.select(0, window as i64), rows(inputs));
                prop_assert_eq!(y.select(0, window as i64), rows(targets));
            }
            let reversed: Vec<i64> = (0..expected.len() as i64).rev().collect();
            let (gathered, _) = dataset.gather(&Tensor::from_slice(&reversed)).unwrap();
            prop_assert_eq!(gathered, x.flip([0]));
        }
    }
}

mod time {
    use super::*;

    fn read(labels: &[String]) -> Result<Timestamps, String> {
        let mut reader = TimeReader::new(&TimeConfig::default()).map_err(|error| error.to_string())?;
        labels.iter().try_for_each(|label| reader.push(label))?;
        let raw = reader.finish().map_err(|problem| problem.message)?;
        let arranged = arrange(raw, Vec::new(), 0, &TimeConfig::default(), None);
        Ok(arranged.map_err(|problem| problem.message)?.timestamps)
    }

    /// Regular dates as they are written: by a length of time, or by months that keep their day as far as they have it, or
    /// at the ends of months.
    fn dates() -> impl Strategy<Value = Vec<String>> {
        let length = |format: &'static str, unit: TimeDelta| (Just(format), Just(Some(unit)));
        let months = |format: &'static str| (Just(format), Just(None));
        let ways = prop_oneof![
            length("%Y-%m-%d", TimeDelta::days(1)),
            length("%Y/%m/%d", TimeDelta::days(1)),
            length("%Y-%m-%d %H:%M", TimeDelta::minutes(1)),
            length("%Y-%m-%d %H:%M:%S", TimeDelta::seconds(1)),
            length("%Y-%m-%dT%H:%M:%S%.3f", TimeDelta::milliseconds(1)),
            length("%Y-%m-%dT%H:%M:%SZ", TimeDelta::hours(1)),
            months("%Y-%m-%d"),
            months("%Y-%m"),
            months("%Y/%m"),
        ];
        let start = 0..4_000_000_000i64;
        (ways, start, 1..40u32, 2..20u32, any::<bool>()).prop_map(
            |((format, unit), start, step, count, end)| {
                let start = DateTime::from_timestamp(start, 0).unwrap().naive_utc();
                let date = |row: u32| -> NaiveDateTime {
                    match unit {
                        Some(unit) => start + unit * (row * step) as i32,
                        None if end => {
                            let first =
                                start.date() - TimeDelta::days(i64::from(chrono::Datelike::day0(&start)));
                            let next: NaiveDate = first + Months::new(row * step + 1);
                            next.pred_opt().unwrap().and_time(start.time())
                        }
                        None => start + Months::new(row * step),
                    }
                };
                (0..count).map(|row| date(row).format(format).to_string()).collect()
            },
        )
    }

    /// Formats of days.
    const FORMS: &[&str] = &[
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%Y.%m.%d",
        "%d.%m.%Y",
        "%-d.%-m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%-m/%-d/%Y",
        "%-m/%-d/%y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%b %d, %Y",
        "%b %e, %Y",
        "%B %-d, %Y",
        "%a, %d %b %Y",
        "%A, %B %d, %Y",
        "%d%b%Y",
        "%Y-%j",
        "%G-W%V-%u",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%dT%H:%M:%S+00:00",
        "%Y-%m-%d %I:%M:%S %p",
        "%-m/%-d/%Y %-I:%M %p",
        "%m/%d/%Y %-H:%M",
        "%d/%b/%Y:%H:%M:%S +0000",
        "%a %b %e %H:%M:%S %Y",
    ];

    /// Regular numbers with three decimals. They are negative, because some positive numbers may be dates too.
    fn numbers() -> impl Strategy<Value = Vec<String>> {
        (-1_000_000_000..-2_000_000i64, 1..100_000i64, 2..20i64).prop_map(|(start, step, count)| {
            (0..count).map(|row| ((start + row * step) as f64 / 1e3).to_string()).collect()
        })
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn timestamps_after_a_regular_series_continue_it(
            labels in prop_oneof![2 => dates(), 1 => numbers()], count in 1..20usize,
        ) {
            let before = read(&labels).unwrap();
            prop_assert_eq!(before.labels().len(), labels.len());
            let after = before.after(count, 1).expect("the series is regular").labels();
            prop_assert_eq!(after.len(), count);
            let all = [&labels[..], &after].concat();
            // Reading fails if a timestamp is not later than the one before it.
            let all = read(&all).unwrap();
            prop_assert_eq!(all.season(), before.season(), "{:?}", after);
            prop_assert!(all.after(1, 1).is_some(), "{:?} and {:?} are irregular together", labels, after);
            prop_assert!(all.numbers().windows(2).all(|pair| pair[0] < pair[1]));
        }

        #[test]
        fn labels_of_any_form_are_the_cells(
            format in proptest::sample::select(FORMS), start in 0..2_900_000_000i64, step in 1..40i64, rows in 1..40i64,
        ) {
            let start = DateTime::from_timestamp(start, 0).unwrap().naive_utc();
            let dates = (0..rows).map(|row| start + TimeDelta::days(row * step));
            let labels: Vec<String> = dates.clone().map(|date| date.format(format).to_string()).collect();
            match read(&labels) {
                Ok(times) => {
                    prop_assert_eq!(times.labels(), &labels[..]);
                    let expected = dates.map(|date| date.and_utc().timestamp().div_euclid(86_400));
                    let days = times.numbers().into_iter().map(|number| number.div_euclid(86_400.0) as i64);
                    prop_assert!(expected.eq(days), "{:?}", labels);
                }
                // The order of day and month is not certain in a few rows.
                Err(error) => prop_assert!(error.contains("expected one reading"), "{:?}: {}", labels, error),
            }
        }

        #[test]
        fn cells_of_any_text_never_panic(
            first in "[0-9]{1,4}[-/. QWMT:]{0,2}[0-9]{0,4}[-/. T]?[0-9]{0,6}(Jan|May|Mon|AM|Z|[+]02)?",
            rest in proptest::collection::vec("[0-9]{1,4}[-/. QWMT:]{0,2}[0-9]{0,4}.{0,6}", 0..6),
            repeat in 1..6usize, time_format in proptest::option::of("(%[a-zA-Z.%]|[-/ :T.]){0,8}"), sort: bool,
            time_zone in proptest::option::of(Just("Europe/Berlin".to_owned())),
            frequency in proptest::option::of("[1-9]?[0-9]{0,18}(D|B|W|MS|h|min|us)"),
        ) {
            let frequency = frequency.and_then(|frequency| frequency.parse().ok());
            let duplicates = if sort { Duplicates::Mean } else { Duplicates::Error };
            let config = TimeConfig { time_format, time_zone, frequency, sort, duplicates };
            let Ok(mut reader) = TimeReader::new(&config) else { return Ok(()) };
            let cells = std::iter::repeat_n(&first, repeat).chain(&rest);
            let rows = cells.take_while(|cell| reader.push(cell).is_ok()).count();
            if let Ok(raw) = reader.finish()
                && let Ok(arranged) = arrange(raw, vec![1.0; rows], 1, &config, None)
            {
                let times = arranged.timestamps;
                prop_assert_eq!(times.len(), arranged.values.len());
                prop_assert_eq!(times.labels().len(), times.len());
                prop_assert!(times.numbers().windows(2).all(|pair| pair[0] <= pair[1]));
                let _ = (times.season(), times.after(3, 1), times.after(2, usize::MAX));
            }
        }

        #[test]
        fn timestamps_of_any_text_never_panic(first in ".{0,12}", second in "[-0-9T:/. Z]{0,20}") {
            for (first, second) in [(&first, &second), (&second, &first)] {
                if let Ok(timestamps) = read(&[first.clone(), second.clone()]) {
                    prop_assert!(timestamps.numbers()[0] < timestamps.numbers()[1]);
                    let _ = (timestamps.season(), timestamps.after(3, 1));
                }
            }
        }
    }
}

mod tables {
    use super::*;

    /// Names with everything that needs quotes; reading trims white space, so there is none at the ends.
    fn names(columns: usize) -> impl Strategy<Value = Vec<String>> {
        let name = "[a-zäß]([a-z \",;\n']{0,6}[a-z\"])?";
        proptest::collection::vec(name, columns).prop_map(|names| {
            names.into_iter().enumerate().map(|(column, name)| format!("c{column} {name}")).collect()
        })
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            any::<f32>().prop_filter("finite", |value| value.is_finite()),
            (-1000..1000i32).prop_map(|value| value as f32),
        ]
    }

    /// Writes a row with the csv crate.
    fn row(cells: &[String], quotes: bool, end: csv::Terminator) -> Vec<u8> {
        let style = if quotes { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
        let mut writer = csv::WriterBuilder::new().quote_style(style).terminator(end).from_writer(Vec::new());
        writer.write_record(cells).unwrap();
        writer.into_inner().unwrap()
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn csv_table_is_read_as_it_was_written(
            (names, rows) in (1..4usize).prop_flat_map(|columns| {
                let row = proptest::collection::vec(value(), columns);
                (names(columns), proptest::collection::vec(row, 1..8))
            }),
            quotes in proptest::collection::vec(any::<bool>(), 9),
            blanks in proptest::collection::vec(any::<bool>(), 9),
            crlf: bool,
            last_end: bool,
        ) {
            let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut file = row(&names, quotes[8], end);
            for (at, values) in rows.iter().enumerate() {
                // In a file of one column a blank line is a missing value.
                if blanks[at] && names.len() > 1 {
                    file.extend(if crlf { &b"\r\n"[..] } else { b"\n" });
                }
                let cells: Vec<String> = values.iter().map(f32::to_string).collect();
                file.extend(row(&cells, quotes[at], end));
            }
            if !last_end {
                file.truncate(file.len() - if crlf { 2 } else { 1 });
            }
            let series = parse_csv(&file[..], &CsvConfig::default(), Path::new("x.csv"));
            let series = series.map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            prop_assert_eq!(&series.names, &names);
            let got = Vec::<f32>::try_from(series.values.flatten(0, -1).to_kind(tch::Kind::Float)).unwrap();
            prop_assert_eq!(got, rows.concat());
            prop_assert_eq!(series.values.size(), [rows.len() as i64, names.len() as i64]);
        }

        #[test]
        fn csv_of_random_bytes_never_panics(
            bytes in proptest::collection::vec(
                prop_oneof![3 => proptest::sample::select(&b"\",\r\n 0123456789.-eNn:TZ\xef\xbb\xbf"[..]), 1 => any::<u8>()],
                0..60,
            ),
            header in any::<Option<bool>>(),
            time in proptest::option::of("[0-2]"),
        ) {
            let config = CsvConfig { header, time_column: time.into_iter().collect(), ..CsvConfig::default() };
            if let Ok(series) = parse_csv(&bytes[..], &config, Path::new("x.csv")) {
                prop_assert!(!series.is_empty());
                prop_assert_eq!(series.values.size(), [series.len() as i64, series.names.len() as i64]);
                prop_assert!(!bool::try_from(series.values.isinf().any()).unwrap());
            }
        }
    }
}

mod texts {
    use super::*;

    fn max_time(text: &str) -> Option<u64> {
        let command = BudgetConfig::augment_args(Command::new("")).no_binary_name(true);
        let matches = command.try_get_matches_from([format!("--max_time={text}")]).ok()?;
        BudgetConfig::from_arg_matches(&matches).unwrap().max_time
    }

    /// Returns a value as a configuration file has it, and a flag takes it.
    fn in_file(value: &impl serde::Serialize) -> String {
        match serde_json::to_value(value).unwrap() {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn batch_limit_is_read_as_it_is_written(
            limit in prop_oneof![
                any::<usize>().prop_map(BatchLimit::Count),
                (0.0..=1.0f64).prop_map(BatchLimit::Share),
                Just(BatchLimit::Share(1.0)),
                Just(BatchLimit::Share(0.0)),
            ],
            all in 0..1000usize,
        ) {
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
            prop_assert_eq!(in_file(&limit).parse(), Ok(limit));
            prop_assert!(limit.of(all) <= all);
        }

        #[test]
        fn split_point_is_read_as_it_is_written(
            point in prop_oneof![
                any::<usize>().prop_map(SplitPoint::Row),
                (1e-300..1.0f64).prop_map(SplitPoint::Share),
            ],
        ) {
            prop_assert_eq!(in_file(&point).parse(), Ok(point));
        }

        #[test]
        fn shuffle_buffer_is_read_as_it_is_written(size in 1..=usize::MAX) {
            for text in [size.to_string(), "full".to_owned()] {
                let buffer: ShuffleBuffer = text.parse().unwrap();
                prop_assert_eq!(in_file(&buffer), text);
            }
        }

        #[test]
        fn max_time_of_any_form_is_its_seconds(days: u32, hours: u16, minutes: u16, seconds: u16) {
            let (d, h, m, s) = (u64::from(days), u64::from(hours), u64::from(minutes), u64::from(seconds));
            let total = ((d * 24 + h) * 60 + m) * 60 + s;
            prop_assert_eq!(max_time(&format!("{d}:{h:02}:{m:02}:{s:02}")), Some(total));
            prop_assert_eq!(max_time(&total.to_string()), Some(total));
            prop_assert_eq!(max_time(&format!("{h}:{m}:{s}")), Some(total - d * 86400));
        }

        #[test]
        fn values_of_any_text_never_panic(text in prop_oneof![".{0,12}", "[-+0-9.eE:]{0,24}"]) {
            let _ = (max_time(&text), text.parse::<SplitPoint>(), text.parse::<ShuffleBuffer>());
            if let Ok(BatchLimit::Share(share)) = text.parse() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
        }

        #[test]
        fn wrap_at_any_width_keeps_all_words_in_order(
            text in proptest::collection::vec("[a-zä0-9.,;:%]{1,9}|[0-9]{1,3} (ms|s|%)|\n|  ", 0..30),
            width in 0..60usize,
        ) {
            let text = text.join(" ");
            let wrapped = format::wrap(&text, width);
            prop_assert!(wrapped.split_whitespace().eq(text.split_whitespace()), "{:?}", wrapped);
            if text.lines().all(|line| line.chars().count() <= width) {
                prop_assert_eq!(wrapped, text.lines().collect::<Vec<_>>().join("\n"));
            }
        }
    }

    #[cfg(unix)]
    proptest! {
        #![proptest_config(cases(8))]

        #[test]
        fn shell_quote_of_any_texts_is_read_by_a_shell_as_those_texts(
            texts in proptest::collection::vec(prop_oneof!["[^\0]{0,8}", "[ '\"$`\\\\!*~#&;\n\t-]{0,8}"], 1..30),
        ) {
            let quoted: Vec<String> = texts.iter().map(crate::terminal::shell_quote).collect();
            let script = format!("printf '%s\\0' {}", quoted.join(" "));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            prop_assert!(output.status.success());
            let got = String::from_utf8(output.stdout).unwrap();
            prop_assert_eq!(got, texts.iter().map(|text| format!("{text}\0")).collect::<String>());
        }
    }
}
