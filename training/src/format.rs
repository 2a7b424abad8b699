//! Numbers, durations and sentences as text for a terminal.

use std::time::Duration;

/// Formats `value` with five significant digits, like [`significant`].
pub fn number(value: f64) -> String {
    significant(value, 5)
}

/// Formats `value` with `digits` significant digits: as a decimal number from 0.001 to 99999, else with an exponent.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0.0".to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    // Rounding can change the exponent, so that it is read from the rounded text. NaN and infinity have no exponent.
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match exponent {
        Some(exponent @ -3..5) => {
            let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
            format!("{value:.decimals$}")
        }
        _ => scientific,
    }
}

/// Formats a number with a noun in the singular or plural: `1 epoch`, `2 epochs`.
pub fn count(count: u64, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Lists at most 20 names: `a, b`, or `a, b, ... and 3 more`.
pub fn listed(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 20;
    let shown: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{}, ... and {more} more", shown.join(", ")),
    }
}

/// Formats a duration with two significant digits below a minute, else with its two largest units: `3.2 ms`, `0.012 s`,
/// `1.6 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds == 0.0 {
        "0 s".to_owned()
    } else if seconds < 0.00995 {
        format!("{} ms", two_digits(1e3 * seconds))
    } else if seconds < 59.5 {
        format!("{} s", two_digits(seconds))
    } else {
        let (whole, minutes) = (seconds.round() as u64, (seconds / 60.0).round() as u64);
        let hours = (seconds / 3600.0).round() as u64;
        if whole < 3600 {
            format!("{} min {:02} s", whole / 60, whole % 60)
        } else if minutes < 24 * 60 {
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        } else {
            format!("{} d {:02} h", hours / 24, hours % 24)
        }
    }
}

/// Formats a positive number below 100 with two significant digits and without an exponent.
fn two_digits(value: f64) -> String {
    let exponent = value.log10().floor();
    // Rounding can add a digit before the point: 9.96 becomes 10.
    let carries = value >= 9.95 * 10f64.powf(exponent);
    let decimals = (1.0 - exponent - f64::from(u8::from(carries))).max(0.0) as usize;
    format!("{value:.decimals$}")
}

/// Formats a duration as on a clock: `01:05`, or `1:01:05` from an hour on.
pub fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// Wraps each line of `text` at `width` characters. Lines break only at spaces, preferably after a semicolon, a colon or a full
/// stop, else after a comma, and never between a number and its unit. A word longer than `width` stays whole.
pub fn wrap(text: &str, width: usize) -> String {
    text.lines().flat_map(|line| wrap_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrap_line(line: &str, width: usize) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = line;
    while rest.chars().count() > width {
        let indent = rest.len() - rest.trim_start().len();
        let breaks =
            || rest.match_indices(' ').map(|(at, _)| at).filter(|&at| at > indent && !joins(rest, at));
        let fitting: Vec<(usize, usize)> = breaks()
            .map(|at| (at, rest[..at].chars().count()))
            .filter(|(_, chars)| *chars <= width)
            .collect();
        // A break at a mark must be in the second half, because an earlier one would leave most of the line empty.
        let after = |marks: &[char]| {
            let ends = |&&(at, chars): &&(usize, usize)| 2 * chars >= width && rest[..at].ends_with(marks);
            fitting.iter().rev().find(ends)
        };
        let place = after(&[';', ':', '.']).or(after(&[','])).or(fitting.last()).map(|(at, _)| *at);
        let Some(at) = place.or(breaks().next()) else { break };
        lines.push(rest[..at].trim_end());
        rest = rest[at..].trim_start();
    }
    lines.push(rest);
    lines
}

/// Returns whether the space at `at` stands between a number and its unit.
fn joins(text: &str, at: usize) -> bool {
    let before = text[..at].rsplit(' ').next().unwrap_or("");
    let number = before.ends_with(|c: char| c.is_ascii_digit()) && before.parse::<f64>().is_ok();
    number && text[at + 1..].starts_with(|c: char| c.is_alphabetic() || c == '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_of_any_size_has_five_significant_digits() {
        let cases = [
            (0.0, "0.0"),
            (0.97654321, "0.97654"),
            (-0.97654321, "-0.97654"),
            (0.0012345678, "0.0012346"),
            (9.999996, "10.000"),
            (12.3456, "12.346"),
            (12345.6, "12346"),
            (99999.9, "1.0000e5"),
            (1e-6, "1.0000e-6"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn significant_with_three_digits_keeps_whole_numbers_whole() {
        for (value, text) in [(296.1598, "296"), (29.61598, "29.6"), (0.29616, "0.296"), (12345.6, "12346")] {
            assert_eq!(significant(value, 3), text);
        }
    }

    #[test]
    fn listed_of_many_names_counts_the_others() {
        let names: Vec<String> = (0..23).map(|name| name.to_string()).collect();
        assert_eq!(listed(&names[..2]), "0, 1");
        assert!(listed(&names[..20]).ends_with("18, 19"));
        assert!(listed(&names).ends_with("18, 19, ... and 3 more"));
    }

    #[test]
    fn duration_of_any_length_has_two_digits_or_two_units() {
        let cases = [
            (0.0, "0 s"),
            (0.0000321, "0.032 ms"),
            (0.00321, "3.2 ms"),
            (0.00996, "0.010 s"),
            (0.0124, "0.012 s"),
            (0.0996, "0.10 s"),
            (0.98, "0.98 s"),
            (1.56, "1.6 s"),
            (9.96, "10 s"),
            (16.05, "16 s"),
            (59.6, "1 min 00 s"),
            (125.2, "2 min 05 s"),
            (3599.6, "1 h 00 min"),
            (3725.0, "1 h 02 min"),
            (86399.0, "1 d 00 h"),
            (360000.0, "4 d 04 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn clock_from_an_hour_on_shows_hours() {
        assert_eq!(clock(Duration::from_millis(65_900)), "01:05");
        assert_eq!(clock(Duration::from_secs(3665)), "1:01:05");
    }

    const RESULT: &str = "10 epochs, 4300 steps, best by val_loss after epoch 7; max_epochs reached; training took \
        16.05 s, 3.7064 ms per batch";

    #[test]
    fn wrap_prefers_the_ends_of_sentences() {
        let at_80 = "10 epochs, 4300 steps, best by val_loss after epoch 7; max_epochs reached;\n\
            training took 16.05 s, 3.7064 ms per batch";
        let at_62 = "10 epochs, 4300 steps, best by val_loss after epoch 7;\n\
            max_epochs reached; training took 16.05 s, 3.7064 ms per batch";
        assert_eq!(wrap(RESULT, 80), at_80);
        assert_eq!(wrap(RESULT, 62), at_62);
        assert_eq!(wrap(RESULT, 160), RESULT);
    }

    #[test]
    fn wrap_at_any_width_keeps_words_and_units_whole() {
        for width in 12..130 {
            let wrapped = wrap(RESULT, width);
            assert_eq!(wrapped.replace('\n', " "), RESULT, "{width}");
            for line in wrapped.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
                for number in ["10", "4300", "16.05", "3.7064"] {
                    assert!(!line.ends_with(number), "{width}: {line}");
                }
            }
        }
    }

    #[test]
    fn wrap_of_long_words_and_several_lines_loses_nothing() {
        assert_eq!(wrap("/a/long/path and more", 8), "/a/long/path\nand more");
        assert_eq!(wrap("/a/long/path", 8), "/a/long/path");
        assert_eq!(wrap("one\n  two three", 7), "one\n  two\nthree");
        assert_eq!(wrap("", 8), "");
    }
}
