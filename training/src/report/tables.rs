//! Tables of results.

use std::fmt::Write;

use crate::format::number;

/// Returns a table of the metrics named `val_METRIC` and `test_METRIC`, with a row per metric and a column per split.
pub fn metrics(values: &[(String, f64)]) -> String {
    let splits = ["val", "test"].map(|split| {
        let of = |(name, value): &(String, f64)| {
            Some((name.strip_prefix(split)?.strip_prefix('_')?.to_owned(), *value))
        };
        (split, values.iter().filter_map(of).collect::<Vec<_>>())
    });
    let columns: Vec<_> = splits.into_iter().filter(|(_, values)| !values.is_empty()).collect();
    let mut text = format!("{:<12}", "");
    // Writing to a string cannot fail.
    for (split, _) in &columns {
        let _ = write!(text, "{split:>12}");
    }
    text.push('\n');
    for (metric, _) in columns.first().map_or(&[][..], |(_, values)| values) {
        let _ = write!(text, "{metric:<12}");
        for (_, values) in &columns {
            let value = values.iter().find(|(name, _)| name == metric);
            let _ = write!(text, "{:>12}", value.map_or_else(String::new, |(_, value)| number(*value)));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_two_splits_have_a_column_per_split() {
        let values =
            [("val_loss", 0.5), ("val_acc", 0.9), ("test_loss", 0.25)].map(|(n, v)| (n.to_owned(), v));
        let expected = "                     val        test\nloss             0.50000     0.25000\nacc              0.90000            \n";
        assert_eq!(metrics(&values), expected);
        assert!(!metrics(&values[..2]).contains("test"));
    }
}
