//! The readers of text: CSV files and their timestamps, configurations, metrics, and the command line.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use training::cli::read_config;
use training::commands;
use training::report::history::plot_metrics;
use training::time_series::{CsvConfig, parse_csv};

use super::engine::fuzz;

#[test]
fn csv_of_damaged_file_gives_finite_values_and_timestamps_that_continue_or_an_error() {
    let columns = [None, Some("0"), Some("1"), Some("t")];
    fuzz("csv", 20_000, 1 << 20, |bytes| {
        let mut accepted = false;
        for (time, header) in
            columns.iter().flat_map(|time| [None, Some(true), Some(false)].map(|h| (time, h)))
        {
            let time_column = time.iter().map(ToString::to_string).collect();
            let config = CsvConfig { time_column, header, ..CsvConfig::default() };
            if let Ok(series) = parse_csv(bytes, &config, Path::new("x.csv")) {
                accepted = true;
                assert!(!bool::try_from(series.values.isinf().any()).unwrap());
                assert_eq!(series.values.size(), [series.len() as i64, series.names.len() as i64]);
                assert_ne!(series.timestamps.season(), Some(0));
                if let Some(after) = series.timestamps.after(3, 1) {
                    assert_eq!(after.labels().len(), 3);
                }
                assert_eq!(series.timestamps.numbers().len(), series.len());
            }
        }
        accepted
    });
}

/// Gives `target` the paths of damaged configurations.
fn fuzz_configurations(inputs: u32, memory: usize, target: impl Fn(&Path) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fuzz("config", inputs, memory, |bytes| {
        fs::write(&path, bytes).unwrap();
        target(&path)
    });
}

#[test]
fn configuration_of_damaged_file_gives_flags_or_an_error_with_its_name() {
    fuzz_configurations(4_000, 1 << 20, |path| match read_config(path) {
        Ok(config) => config.is_object(),
        Err(error) => {
            assert!(format!("{error:#}").contains("c.yaml"), "{error:#}");
            false
        }
    });
}

#[test]
fn command_line_with_damaged_configuration_is_a_run_or_an_error() {
    fuzz_configurations(300, 16 << 20, |path| {
        commands::parse(["run_experiment".into(), "--config".into(), path.into()]).is_ok()
    });
}

/// The arguments are lines.
#[test]
fn command_line_with_damaged_arguments_is_a_command_or_an_error() {
    fuzz("command_line", 600, 16 << 20, |bytes| {
        let lines = bytes.split(|&byte| byte == b'\n').map(|line| {
            // SAFETY: on Unix, any bytes are an encoding of this type.
            unsafe { OsString::from_encoded_bytes_unchecked(line.to_vec()) }
        });
        let args = std::iter::once("run_experiment".into()).chain(lines.filter(|line| !line.is_empty()));
        commands::parse(args).is_ok()
    });
}

#[test]
fn metrics_of_damaged_file_are_plotted_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, stem) = (folder.path().join("metrics.jsonl"), folder.path().join("metrics"));
    fuzz("metrics", 150, 64 << 20, |bytes| {
        fs::write(&path, bytes).unwrap();
        plot_metrics(&path, &stem, 10).is_ok()
    });
}
