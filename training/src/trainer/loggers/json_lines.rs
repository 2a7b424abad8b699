//! `metrics.jsonl`: one JSON object per line, for `pandas.read_json(path, lines=True)`.
//!
//! The lines contain no times. So a run that was killed and resumed writes the same bytes as a run without
//! interruption.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use text_recognizer::util::files::write_atomic;

use super::Logger;
use crate::trainer::record::Record;
use crate::trainer::run_folder::{is_same, open_without_link};

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
        let file = open_without_link(File::options().create(true).append(true).read(true), path)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn context(&self) -> String {
        format!("cannot write {}", self.path.display())
    }

    /// Writes the first `length` bytes of the open file as a new file, which replaces the old one: a name in another folder that
    /// shares its content keeps it.
    fn replace(&mut self, length: u64) -> Result<()> {
        let mut kept = Vec::new();
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.take(length).read_to_end(&mut kept))
            .with_context(|| self.context())?;
        write_atomic(&self.path, &kept)?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

impl Logger for JsonLines {
    fn log(&mut self, record: &Record) -> Result<()> {
        writeln!(self.file, "{}", record.to_json()).with_context(|| self.context())
    }

    fn flush(&mut self) -> Result<Value> {
        self.file.flush().with_context(|| self.context())?;
        self.file.get_ref().sync_data().with_context(|| self.context())?;
        if !is_same(self.file.get_ref(), &self.path) {
            log::warn!("{} was removed during the run; wrote it again", self.path.display());
            self.replace(u64::MAX)?;
        }
        let length = self.file.get_ref().metadata().with_context(|| self.context())?.len();
        Ok(length.into())
    }

    fn rewind(&mut self, mark: &Value, _step: u64) -> Result<()> {
        let length = match mark {
            // A restart of the run.
            Value::Null => 0,
            mark => mark.as_u64().context("cannot resume the metrics: their length is not a number")?,
        };
        let there = self.file.get_ref().metadata().with_context(|| self.context())?.len();
        if there < length {
            log::warn!(
                "{} has {there} bytes, expected at least {length}: metrics before the resume are missing",
                self.path.display()
            );
        }
        self.replace(length)
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
        // A file that is shorter than the mark is kept as it is.
        log.rewind(&Value::from(9999), 1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    #[cfg(unix)]
    fn removed_file_is_written_again_and_a_hard_link_to_it_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("metrics.jsonl"), folder.path().join("other"));
        let record = |step| Record { epoch: 0, step, values: vec![("train_loss".into(), 0.5)] };
        let mut log = JsonLines::open(&path).unwrap();
        log.log(&record(1)).unwrap();
        let mark = log.flush().unwrap();
        std::fs::remove_file(&path).unwrap();
        log.log(&record(2)).unwrap();
        log.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        std::fs::hard_link(&path, &other).unwrap();
        let mut log = JsonLines::open(&path).unwrap();
        log.rewind(&mark, 1).unwrap();
        log.log(&record(3)).unwrap();
        log.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), text);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text.replace(":2,", ":3,"));
    }
}
