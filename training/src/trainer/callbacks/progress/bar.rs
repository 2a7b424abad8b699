//! The progress bar of the current epoch: a line that a terminal updates.

use std::time::Duration;

use crate::format;

/// The shortest and the longest bar, in characters. For less room, the line omits other parts instead.
const BAR: (usize, usize) = (8, 30);

/// The state of the current epoch.
#[derive(Debug)]
pub struct EpochState {
    /// The epoch and the maximum: `3/10`.
    pub epoch: String,
    /// Finished batches of this epoch.
    pub batch: usize,
    /// Batches per epoch.
    pub batches: usize,
    /// Finished batches in the time `elapsed`. After a resume within an epoch, this is less than `batch`.
    pub timed: usize,
    /// The time since the epoch's start.
    pub elapsed: Duration,
    /// The last logged training loss.
    pub loss: Option<f64>,
}

impl EpochState {
    /// Returns a line of at most `width` columns: `epoch 3/10 ███▌ 290/430 [00:01<00:00, 296 batches/s] loss 0.1234`.
    /// If that is too long, omits the speed, then the times, then the loss, then the bar.
    pub fn line(&self, width: usize) -> String {
        let head = format!("epoch {}", self.epoch);
        let count = format!("{:>1$}/{2}", self.batch, self.batches.to_string().len(), self.batches);
        let speed = self.timed as f64 / self.elapsed.as_secs_f64().max(1e-9);
        let left = self.batches.saturating_sub(self.batch) as f64 / speed.max(1e-9);
        let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
        let times = format!("{}<{}", format::clock(self.elapsed), format::clock(left));
        let loss =
            self.loss.map_or_else(String::new, |loss| format!(" loss {}", format::significant(loss, 4)));
        let tails = [
            format!(" [{times}, {} batches/s]{loss}", format::significant(speed, 3)),
            format!(" [{times}]{loss}"),
            loss,
            String::new(),
        ];
        for tail in tails {
            let used = head.len() + count.len() + tail.len() + 2;
            if let Some(cells) = width.checked_sub(used).filter(|&cells| cells >= BAR.0) {
                return format!("{head} {} {count}{tail}", self.bar(cells.min(BAR.1)));
            }
        }
        format!("{head} {count}").chars().take(width).collect()
    }

    /// Returns a bar of `cells` characters for the share of finished batches, exact to an eighth of a character.
    fn bar(&self, cells: usize) -> String {
        const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
        let eighths = (8 * cells * self.batch.min(self.batches)) / self.batches.max(1);
        let last = (eighths % 8).checked_sub(1).map(|eighths| EIGHTHS[eighths]);
        let bar: String = std::iter::repeat_n('█', eighths / 8).chain(last).collect();
        format!("{bar:<cells$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(batch: usize, loss: Option<f64>) -> EpochState {
        let elapsed = Duration::from_millis(980);
        EpochState { epoch: "3/10".into(), batch, batches: 430, timed: batch, elapsed, loss }
    }

    #[test]
    fn line_of_80_columns_has_everything() {
        let line = "epoch 3/10 █████████████▍       290/430 [00:00<00:00, 296 batches/s] loss 0.1234";
        assert_eq!(state(290, Some(0.12341)).line(80), line);
        assert_eq!(line.chars().count(), 80);
    }

    #[test]
    fn line_of_60_columns_omits_the_speed() {
        let line = "epoch 3/10 ██████████      290/430 [00:00<00:00] loss 0.1234";
        assert_eq!(state(290, Some(0.12341)).line(60), line);
    }

    #[test]
    fn line_of_any_width_fits() {
        for width in 0..200 {
            for (batch, loss) in [(0, None), (1, Some(-1.2345e-100)), (430, Some(f64::NAN))] {
                let line = state(batch, loss).line(width);
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn line_after_a_resume_counts_the_batches_of_this_process() {
        let resumed = EpochState { timed: 98, ..state(332, None) };
        assert!(resumed.line(80).contains("332/430 [00:00<00:00, 100 batches/s]"), "{}", resumed.line(80));
    }

    #[test]
    fn bar_grows_from_empty_to_full() {
        assert_eq!(state(0, None).bar(10), " ".repeat(10));
        assert_eq!(state(215, None).bar(10), "█████     ");
        assert_eq!(state(430, None).bar(10), "█".repeat(10));
    }
}
