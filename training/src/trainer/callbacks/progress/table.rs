//! The table of epochs, in columns of fixed width.

use std::time::Duration;

use crate::format;

/// The spaces between two columns.
const GAP: usize = 2;
/// The width of a column of numbers with a short name.
const NUMBER: usize = 9;
/// The width of the longest duration, `59 min 59 s`.
const TIME: usize = 11;
/// The title of the column of marks.
const BEST: &str = "best";
/// The number of rows between two headers, so that a screen shows at least one.
const ROWS_PER_HEADER: usize = 40;

/// One validation, or the end of an epoch without one.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Finished epochs and their maximum: `3/10`, or `2.50/10` within an epoch.
    pub epoch: String,
    /// Metrics by name.
    pub values: Vec<(String, f64)>,
    /// The time since the epoch's start.
    pub time: Duration,
    /// Whether the first monitored metric is better than ever before.
    pub best: bool,
}

/// The content of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    Epoch,
    Metric(String),
    Time,
    Best,
}

/// A column: its content, and its width without the gap before it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    cell: Cell,
    width: usize,
}

/// A table whose lines fit the terminal.
#[derive(Debug)]
pub struct Table {
    /// The names of the metrics, the most important first.
    metrics: Vec<String>,
    /// The number of first metrics with a column in any case, if necessary with a shortened title.
    monitored: usize,
    /// The width of the widest epoch so far.
    epoch: usize,
    columns: Vec<Column>,
    rows_since_header: usize,
}

impl Table {
    /// Creates a table of `metrics`, which have the order of a record. The `monitored` metrics have the first columns
    /// after the training loss, and the others follow if there is room. `epoch` is the widest entry of the first
    /// column.
    pub fn new(metrics: &[String], monitored: &[String], epoch: &str) -> Self {
        let is_first = |name: &str| name == "train_loss" || monitored.iter().any(|m| m == name);
        let others = |stage: bool| {
            metrics.iter().filter(move |name| !is_first(name) && name.starts_with("val_") == stage)
        };
        let mut ordered: Vec<String> = Vec::new();
        let first = monitored.iter().filter(|name| metrics.contains(name));
        let loss = metrics.iter().filter(|name| *name == "train_loss");
        for name in first.chain(loss) {
            if !ordered.contains(name) {
                ordered.push(name.clone());
            }
        }
        let monitored = ordered.len();
        ordered.extend(others(true).chain(others(false)).cloned());
        let epoch = epoch.len().max("epoch".len());
        Self { metrics: ordered, monitored, epoch, columns: Vec::new(), rows_since_header: 0 }
    }

    /// Returns the line of `row`. Before it comes the header, if it is the first one, if the columns changed, or after
    /// 40 rows.
    pub fn lines(&mut self, row: &Row, width: usize) -> Vec<String> {
        self.epoch = self.epoch.max(row.epoch.len());
        let columns = self.layout(width);
        let mut lines = Vec::new();
        if columns != self.columns || self.rows_since_header == ROWS_PER_HEADER {
            lines.push(line(&columns, Column::title));
            self.columns = columns;
            self.rows_since_header = 0;
        }
        self.rows_since_header += 1;
        lines.push(line(&self.columns, |column| column.value(row)));
        lines
    }

    /// Returns the columns for a terminal of `width` characters. The epoch and the mark always have a column. In this
    /// order, the monitored metrics, the training loss, the time and the other metrics have one if there is room.
    fn layout(&self, width: usize) -> Vec<Column> {
        let mut room = width.saturating_sub(self.epoch + GAP + BEST.len());
        let time = room >= 2 * (GAP + NUMBER) + GAP + TIME;
        if time {
            room -= GAP + TIME;
        }
        let mut metrics = Vec::new();
        for (at, name) in self.metrics.iter().enumerate() {
            let mut width = name.chars().count().max(NUMBER);
            if at < self.monitored {
                // Shorten a long name, so that the columns that must follow have room.
                let after = (self.monitored - at - 1) * (GAP + NUMBER);
                width = width.min(room.saturating_sub(after + GAP)).max(NUMBER);
            }
            if GAP + width <= room {
                room -= GAP + width;
                metrics.push(Column { cell: Cell::Metric(name.clone()), width });
            }
        }
        // The training loss has the first column of a metric.
        metrics.sort_by_key(|column| column.cell != Cell::Metric("train_loss".to_owned()));
        let mut columns = vec![Column { cell: Cell::Epoch, width: self.epoch }];
        columns.extend(metrics);
        columns.extend(time.then_some(Column { cell: Cell::Time, width: TIME }));
        columns.push(Column { cell: Cell::Best, width: BEST.len() });
        columns
    }
}

impl Column {
    fn title(&self) -> String {
        match &self.cell {
            Cell::Epoch => "epoch".to_owned(),
            Cell::Metric(name) if name.chars().count() > self.width => {
                name.chars().take(self.width - 2).chain("..".chars()).collect()
            }
            Cell::Metric(name) => name.clone(),
            Cell::Time => "time".to_owned(),
            Cell::Best => BEST.to_owned(),
        }
    }

    fn value(&self, row: &Row) -> String {
        match &self.cell {
            Cell::Epoch => row.epoch.clone(),
            Cell::Metric(name) => {
                let value = row.values.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
                // A wide number such as -1.2345e-100 has fewer digits, so that it fits.
                let fit = |value| {
                    let texts = (1..=5).rev().map(|digits| format::significant(value, digits));
                    texts.into_iter().find(|text| text.len() <= self.width)
                };
                value.and_then(fit).unwrap_or_default()
            }
            Cell::Time => format::duration(row.time),
            Cell::Best => if row.best { "*" } else { "" }.to_owned(),
        }
    }
}

/// Joins the right-aligned cells of a line.
fn line(columns: &[Column], cell: impl Fn(&Column) -> String) -> String {
    let cells = columns.iter().map(|column| format!("{:>1$}", cell(column), column.width));
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn row(epoch: &str, names: &[String], value: f64, best: bool) -> Row {
        let values = names.iter().map(|name| (name.clone(), value)).collect();
        Row { epoch: epoch.to_owned(), values, time: Duration::from_secs(3599), best }
    }

    #[test]
    fn lines_of_long_names_and_values_fit_any_width() {
        let long = names(&[
            "train_loss",
            "val_character_error_rate_of_lines",
            "val_symmetric_percentage_error",
            "val_loss",
        ]);
        let short = names(&["train_loss", "train_acc", "val_loss", "val_acc"]);
        for metrics in [long, short] {
            for monitored in [&metrics[1..2], &metrics[1..3], &metrics[3..]] {
                for width in 40..=200 {
                    let mut table = Table::new(&metrics, monitored, "1000/1000");
                    let lines = table.lines(&row("999.50/1000", &metrics, -1.23456e-100, true), width);
                    assert_eq!(lines.len(), 2);
                    for line in &lines {
                        assert!(line.chars().count() <= width, "{width}: {line}");
                    }
                    let start = &monitored[0][..7];
                    assert!(lines[0].contains(start) && lines[1].ends_with('*'), "{width}: {lines:?}");
                }
            }
        }
    }

    #[test]
    fn header_of_80_columns_has_the_monitored_metrics_first() {
        let metrics = names(&[
            "train_loss",
            "train_mae",
            "val_loss",
            "val_mae",
            "val_mape",
            "val_mse",
            "val_rmse",
            "val_smape",
        ]);
        let mut table = Table::new(&metrics, &names(&["val_smape", "val_mse"]), "10/10");
        let lines = table.lines(&row("3/10", &metrics, 0.5, false), 80);
        let expected = [
            "epoch  train_loss  val_smape    val_mse   val_loss    val_mae         time  best",
            " 3/10     0.50000    0.50000    0.50000    0.50000    0.50000  59 min 59 s",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn header_after_40_rows_is_repeated() {
        let metrics = names(&["train_loss", "val_loss"]);
        let mut table = Table::new(&metrics, &metrics[1..], "10/10");
        let row = row("3/10", &metrics, 0.5, false);
        let lines: Vec<usize> = (0..82).map(|_| table.lines(&row, 80).len()).collect();
        let headers: Vec<usize> = (0..82).filter(|&at| lines[at] == 2).collect();
        assert_eq!(headers, [0, 40, 80]);
    }

    #[test]
    fn header_after_a_new_width_is_repeated() {
        let metrics = names(&["train_loss", "val_loss", "val_acc"]);
        let mut table = Table::new(&metrics, &metrics[1..2], "10/10");
        let row = row("3/10", &metrics, 0.5, false);
        let lines: Vec<usize> = [80, 80, 50, 50, 80].map(|width| table.lines(&row, width).len()).to_vec();
        assert_eq!(lines, [2, 1, 2, 1, 2]);
    }

    #[test]
    fn row_without_validation_has_empty_cells() {
        let metrics = names(&["train_loss", "val_loss"]);
        let mut table = Table::new(&metrics, &metrics[1..], "10/10");
        let lines = table.lines(&row("3/10", &metrics[..1], 0.5, false), 80);
        assert_eq!(lines[1], " 3/10     0.50000             59 min 59 s");
    }

    #[test]
    fn header_without_a_validation_split_names_the_training_loss_once() {
        let metrics = names(&["train_loss", "train_acc"]);
        let mut table = Table::new(&metrics, &metrics[..1], "10/10");
        let lines = table.lines(&row("3/10", &metrics, f64::NAN, false), 80);
        assert_eq!(lines[0], "epoch  train_loss  train_acc         time  best");
        assert_eq!(lines[1], " 3/10         NaN        NaN  59 min 59 s");
    }
}
