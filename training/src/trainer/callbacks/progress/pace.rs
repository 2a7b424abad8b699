//! The choice of the rows to print where epochs are short.

use std::collections::VecDeque;
use std::time::Duration;

use super::table::Row;

/// The time between two rows.
const PAUSE: Duration = Duration::from_secs(1);
/// The rows before a printed one that are printed too, where they are new bests.
const LOOK_BACK: usize = 10;

/// A limit of one row per second. Before a row come the new bests among the ten rows that were held back before it, or
/// else the newest best that was held back.
#[derive(Debug, Default)]
pub struct Pace {
    printed: Option<Duration>,
    held: VecDeque<Row>,
    /// The newest best that is no longer in `held`.
    best: Option<Row>,
}

impl Pace {
    /// Takes in a row at the time `now` and returns the rows to print, oldest first.
    pub fn push(&mut self, row: Row, now: Duration) -> Vec<Row> {
        self.held.push_back(row);
        if self.held.len() > LOOK_BACK + 1 {
            self.best = self.held.pop_front().filter(|row| row.best).or(self.best.take());
        }
        if self.printed.is_some_and(|printed| now < printed + PAUSE) {
            return Vec::new();
        }
        self.printed = Some(now);
        self.flush()
    }

    /// Returns the last row, if it is not printed yet, after the bests that were held back.
    pub fn flush(&mut self) -> Vec<Row> {
        let older = self.best.take().filter(|_| !self.held.iter().any(|row| row.best));
        let last = self.held.pop_back();
        let recent = self.held.drain(..).filter(|row| row.best);
        older.into_iter().chain(recent).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the epochs that are printed, of epochs that each take `millis` and of which `bests` are new bests.
    fn printed(epochs: u64, millis: u64, bests: &[u64]) -> Vec<u64> {
        let mut pace = Pace::default();
        let mut rows = Vec::new();
        for epoch in 1..=epochs {
            let row = Row { epoch: epoch.to_string(), best: bests.contains(&epoch), ..Row::default() };
            rows.extend(pace.push(row, Duration::from_millis(millis * epoch)));
        }
        rows.extend(pace.flush());
        rows.iter().map(|row| row.epoch.parse().unwrap()).collect()
    }

    #[test]
    fn long_epochs_are_all_printed() {
        assert_eq!(printed(4, 1000, &[1]), [1, 2, 3, 4]);
    }

    #[test]
    fn short_epochs_are_printed_once_a_second_and_at_the_end() {
        assert_eq!(printed(25, 100, &[1]), [1, 11, 21, 25]);
        assert_eq!(printed(1, 100, &[1]), [1]);
        assert_eq!(printed(0, 100, &[]), [0u64; 0]);
    }

    #[test]
    fn bests_of_the_last_ten_rows_are_printed() {
        assert_eq!(printed(100, 3, &[1, 20, 89, 90, 95, 99, 100]), [1, 90, 95, 99, 100]);
        assert_eq!(printed(40, 50, &[1, 5, 11, 15, 21, 24, 40]), [1, 11, 15, 21, 40]);
    }

    #[test]
    fn bests_before_the_last_ten_rows_are_printed_where_no_newer_is() {
        assert_eq!(printed(100, 3, &[1, 20, 33]), [1, 33, 100]);
        assert_eq!(printed(60, 50, &[1, 5, 24]), [1, 5, 21, 24, 41, 60]);
    }
}
