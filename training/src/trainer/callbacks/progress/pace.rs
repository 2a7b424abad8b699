//! The choice of the rows to print if epochs are short.

use std::collections::VecDeque;
use std::time::Duration;

use super::table::Row;

/// The shortest time between two printed rows.
const PAUSE: Duration = Duration::from_secs(1);
/// The number of rows before a printed row that are also printed if they are new bests.
const LOOK_BACK: usize = 10;

/// A limit of one row per second. With each printed row, also prints the new bests among the ten rows before it. If
/// there are none, prints the newest best since the last printed row.
#[derive(Debug, Default)]
pub struct Pace {
    /// The time of the last printed row.
    printed: Option<Duration>,
    /// The newest rows that are not printed yet.
    held: VecDeque<Row>,
    /// The newest best that is no longer in `held`.
    best: Option<Row>,
}

impl Pace {
    /// Adds a row at the time `now` and returns the rows to print, oldest first.
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

    /// Returns the last row if it is not printed yet, and before it the new bests to print with it.
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

    /// Returns the printed epochs of `epochs` epochs, of `millis` ms each. `bests` are the new bests.
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
    fn short_epochs_are_printed_once_per_second_and_at_the_end() {
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
    fn bests_before_the_last_ten_rows_are_printed_if_none_is_newer() {
        assert_eq!(printed(100, 3, &[1, 20, 33]), [1, 33, 100]);
        assert_eq!(printed(60, 50, &[1, 5, 24]), [1, 5, 21, 24, 41, 60]);
    }
}
