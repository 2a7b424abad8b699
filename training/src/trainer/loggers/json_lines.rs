//! `metrics.jsonl`: one JSON object per line, for `pandas.read_json(path, lines=True)`.
//!
//! The lines contain no times. So a run that was killed and resumed writes the same bytes as a run without
//! interruption.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Logger;
use crate::trainer::record::Record;
use crate::trainer::run_folder::open_without_link;

/// A logger that appends records to a file.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl JsonLines {
    /// Opens `path`, and creates it if it does not exist.
    ///
    /// # Errors
    /// Fails if the file cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_without_link(File::options().create(true).append(true), path)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn context(&self) -> String {
        format!("cannot write {}", self.path.display())
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
        let length = match mark {
            // A restart of the run.
            Value::Null => 0,
            mark => mark.as_u64().context("cannot resume the metrics: their length is not a number")?,
        };
        self.file.flush()?;
        let file = self.file.get_mut();
        let there = file.metadata()?.len();
        ensure!(
            there >= length,
            "cannot resume {}: it has {there} bytes, expected at least {length}; the file was cut",
            self.path.display()
        );
        file.set_len(length).with_context(|| format!("cannot truncate {}", self.path.display()))?;
        file.seek(std::io::SeekFrom::End(0))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewind_to_a_mark_discards_the_records_after_it() {
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
