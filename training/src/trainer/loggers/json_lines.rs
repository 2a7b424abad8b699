//! `metrics.jsonl`: one JSON object a line, for `pandas.read_json(path, lines=True)`.
//!
//! The lines hold what was measured and never when, so that a run that was killed and resumed leaves the same bytes as one
//! that was not.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Logger;
use crate::trainer::record::Record;

/// Appends records to a file.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl JsonLines {
    /// Opens `path`, creating it where it is not there.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn context(&self) -> String {
        format!("writing {}", self.path.display())
    }
}

impl Logger for JsonLines {
    fn log(&mut self, record: &Record) -> Result<()> {
        writeln!(self.file, "{}", record.to_json()).with_context(|| self.context())
    }

    fn flush(&mut self) -> Result<Value> {
        self.file.flush().with_context(|| self.context())?;
        self.file.get_ref().sync_data().with_context(|| self.context())?;
        let length = self.file.get_ref().metadata().with_context(|| self.context())?.len();
        Ok(length.into())
    }

    fn rewind(&mut self, mark: &Value, _step: u64) -> Result<()> {
        let length = mark.as_u64().context("the checkpoint does not say how long the metrics were")?;
        self.file.flush()?;
        let file = self.file.get_mut();
        let there = file.metadata()?.len();
        ensure!(
            there >= length,
            "{} has {there} bytes, the checkpoint knows {length}: it was cut",
            self.path.display()
        );
        file.set_len(length).with_context(|| format!("truncating {}", self.path.display()))?;
        file.seek(std::io::SeekFrom::End(0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_history_is_appended_and_never_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let record = |step| Record { epoch: 0, step, values: vec![("train_loss".into(), 0.5)] };
        let mut log = JsonLines::open(&path).unwrap();
        log.log(&record(1)).unwrap();
        let mark = log.flush().unwrap();
        log.log(&record(2)).unwrap();
        drop(log);
        let mut log = JsonLines::open(&path).unwrap();
        log.rewind(&mark, 1).unwrap();
        log.log(&record(3)).unwrap();
        log.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"epoch\":0,\"step\":1,\"train_loss\":0.5}\n{\"epoch\":0,\"step\":3,\"train_loss\":0.5}\n"
        );
        assert!(log.rewind(&Value::from(9999), 1).is_err());
    }
}
