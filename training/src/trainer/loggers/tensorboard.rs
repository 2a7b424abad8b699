//! A TensorBoard event file, with the run's hyperparameters for the HPARAMS tab.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use protobuf::well_known_types::Value as ProtoValue;
use protobuf::{Message, RepeatedField};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tensorboard_proto::api::Status;
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};
use tensorboard_proto::summary::{Summary, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;
use text_recognizer::util::files::write_atomic;

use super::Logger;
use crate::trainer::record::Record;
use crate::trainer::run_folder::open_without_link;

/// A logger that writes scalars to a TensorBoard event file. It uses only the record format of the crate
/// `tensorboard_rs`, because the crate's `SummaryWriter` loses values that are not flushed and panics on a full disk.
pub struct TensorBoard {
    path: PathBuf,
    writer: RecordWriter<BufWriter<File>>,
    /// The metrics of the test split.
    test: Option<Record>,
}

/// The ending of the name of a file with the end of a run: its status, and the metrics of the test split. It is a file of its own,
/// which a resume removes, because TensorBoard shows the first status that it reads.
const END: &str = ".end";

impl TensorBoard {
    /// Creates an event file in `folder`, with a name after those of all event files there. The file starts with the
    /// hyperparameters `hparams`, by which TensorBoard compares runs.
    ///
    /// # Errors
    /// Fails if the file cannot be created or written.
    pub fn create(folder: &Path, hparams: &[(String, Value)]) -> Result<Self> {
        let (ends, names): (Vec<_>, Vec<_>) =
            event_files(folder)?.into_iter().partition(|name| name.ends_with(END));
        for path in ends.into_iter().map(|name| folder.join(name)) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut name = file_name(now, std::process::id());
        // The clock may have been set back since then, or be that of another host. TensorBoard sorts the names as text.
        if let Some(last) = names.into_iter().max().filter(|last| *last >= name) {
            let later = time_of(&last).unwrap_or_default().saturating_add(Duration::from_nanos(1));
            name = file_name(later, std::process::id());
        }
        let mut board = Self::open(folder.join(name))?;
        board.write_summary(hparams_start(hparams), 0)?;
        Ok(board)
    }

    /// Creates the event file `path`.
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut board = Self { path, writer: RecordWriter::new(BufWriter::new(file)), test: None };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".into());
        board.write(version, 0)?;
        Ok(board)
    }

    fn write_record(&mut self, record: &Record) -> Result<()> {
        let values = record.values.iter().map(|(name, value)| {
            let mut scalar = Summary_Value::new();
            scalar.set_tag(name.clone());
            scalar.set_simple_value(*value as f32);
            scalar
        });
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_iter(values));
        self.write_summary(summary, record.step)
    }

    fn write_summary(&mut self, summary: Summary, step: u64) -> Result<()> {
        let mut event = Event::new();
        event.set_summary(summary);
        self.write(event, step)
    }

    fn write(&mut self, mut event: Event, step: u64) -> Result<()> {
        event.set_step(step as i64);
        event.set_wall_time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
        let bytes = event.write_to_bytes().context("cannot encode a TensorBoard event")?;
        self.writer.write(&bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Logger for TensorBoard {
    fn log(&mut self, record: &Record) -> Result<()> {
        self.write_record(record)
    }

    fn log_test(&mut self, record: &Record) -> Result<()> {
        self.test = Some(record.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<Value> {
        let failed = || format!("cannot write {}", self.path.display());
        self.writer.flush().with_context(failed)?;
        let length = self.path.metadata().with_context(failed)?.len();
        Ok(json!(Mark { file: name_of(&self.path), length }))
    }

    /// Removes the later values from the event files of other processes of the run, and writes a start event. The event makes a
    /// TensorBoard that has already read them discard them.
    fn rewind(&mut self, mark: &Value, step: u64) -> Result<()> {
        // The mark of a restart, or of a run of an earlier version, is null.
        let mark: Option<Mark> = serde_json::from_value(mark.clone()).ok();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let own = name_of(&self.path);
        for name in event_files(folder)?.into_iter().filter(|name| *name != own) {
            let path = folder.join(&name);
            let bytes = read(&path)?;
            // A file that was renamed, or that a killed process began after the checkpoint, is not in the mark.
            let kept = match mark.as_ref().filter(|mark| mark.file == name) {
                Some(mark) => bytes[..bytes.len().min(mark.length as usize)].to_vec(),
                None => until(&bytes, step),
            };
            if kept.len() < bytes.len() {
                write_atomic(&path, &kept)?;
            }
        }
        let mut start = SessionLog::new();
        start.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_session_log(start);
        self.write(event, if step == 0 { 0 } else { step + 1 })
    }

    fn finish(&mut self, success: bool) -> Result<()> {
        self.flush()?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(END);
        let mut file = Self::open(self.path.with_file_name(name))?;
        file.write_summary(hparams_end(success), 0)?;
        self.test.iter().try_for_each(|test| file.write_record(test))?;
        file.flush().map(drop)
    }
}

/// The end of what a checkpoint has, in the event files of a run.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    /// The name of the last file.
    file: String,
    /// Its length in bytes.
    length: u64,
}

/// Returns the names of the event files in a folder, in the order in which TensorBoard reads them.
fn event_files(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| time_of(name).is_some()).collect();
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open_without_link(File::options().read(true), path)?;
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Returns the records of an event file whose step is at most `step`. Each record is a length of 8 bytes, its checksum of 4 bytes,
/// an event, and its checksum of 4 bytes. Keeps the rest of a file that is not of this form.
fn until(mut bytes: &[u8], step: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some((record, rest)) = first_record(bytes) {
        let event = Event::parse_from_bytes(&record[12..record.len() - 4]);
        if event.is_ok_and(|event| event.get_step() <= step as i64) {
            kept.extend_from_slice(record);
        }
        bytes = rest;
    }
    kept.extend_from_slice(bytes);
    kept
}

/// Splits the bytes of an event file after the first record; `None` if it is not complete.
fn first_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    bytes.split_at_checked(usize::try_from(length).ok()?.checked_add(16)?)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the name of an event file. Names sort by time, because TensorBoard reads the files of a resumed run in the order of
/// their names.
fn file_name(now: Duration, process: u32) -> String {
    format!("events.out.tfevents.{}.{:09}.{process}", now.as_secs(), now.subsec_nanos())
}

/// Returns the time in the name of an event file; `None` for any other name.
fn time_of(name: &str) -> Option<Duration> {
    let mut parts = name.strip_prefix("events.out.tfevents.")?.split('.');
    let (seconds, nanos) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
}

/// Returns the value that the HPARAMS tab needs at the start of a run. There is no value that describes the whole experiment:
/// TensorBoard then takes the columns of its table from the runs.
fn hparams_start(hparams: &[(String, Value)]) -> Summary {
    let mut start = SessionStartInfo::new();
    start.set_hparams(
        hparams.iter().map(|(name, value)| (name.clone(), proto_value(value))).collect::<HashMap<_, _>>(),
    );
    let mut data = HParamsPluginData::new();
    data.set_session_start_info(start);
    summary_of("_hparams_/session_start_info", &data)
}

/// Returns the value with the status of a run that ended.
fn hparams_end(success: bool) -> Summary {
    let mut end = SessionEndInfo::new();
    end.set_status(if success { Status::STATUS_SUCCESS } else { Status::STATUS_FAILURE });
    let mut data = HParamsPluginData::new();
    data.set_session_end_info(end);
    summary_of("_hparams_/session_end_info", &data)
}

/// Converts a JSON value to a protobuf value; arrays and objects become their JSON text.
fn proto_value(value: &Value) -> ProtoValue {
    let mut proto = ProtoValue::new();
    match value {
        Value::Bool(value) => proto.set_bool_value(*value),
        Value::Number(value) => proto.set_number_value(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(value) => proto.set_string_value(value.clone()),
        other => proto.set_string_value(other.to_string()),
    }
    proto
}

/// Returns a summary that carries `data` for the plugin of the HPARAMS tab.
fn summary_of(tag: &str, data: &HParamsPluginData) -> Summary {
    let mut plugin = SummaryMetadata_PluginData::new();
    plugin.set_plugin_name("hparams".into());
    // Encoding cannot fail: the messages of this plugin contain only maps and strings.
    plugin.set_content(data.write_to_bytes().unwrap_or_default());
    let mut metadata = SummaryMetadata::new();
    metadata.set_plugin_data(plugin);
    let mut shape = TensorShapeProto::new();
    shape.set_dim(RepeatedField::from_vec(vec![TensorShapeProto_Dim::new()]));
    let mut tensor = TensorProto::new();
    tensor.set_dtype(DataType::DT_FLOAT);
    tensor.set_tensor_shape(shape);
    let mut value = Summary_Value::new();
    value.set_tag(tag.into());
    value.set_metadata(metadata);
    value.set_tensor(tensor);
    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(vec![value]));
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_sorts_by_time_whatever_the_process() {
        let names = [(1_000, 32_000), (20_000_000, 9), (100_000_000, 10)]
            .map(|(nanos, process)| file_name(Duration::new(1_795_644_960, nanos), process));
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn create_names_the_file_after_all_others_whatever_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let future = "events.out.tfevents.2999999999.999999999.5";
        for name in
            [future, "events.out.tfevents.2999999999.999999999.5.end", "events.out.tfevents.x", "other"]
        {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let board = TensorBoard::create(folder.path(), &[]).unwrap();
        let name = board.path.file_name().unwrap().to_str().unwrap();
        assert_eq!(time_of(name), Some(Duration::new(3_000_000_000, 0)));
        assert!(name > future);
        assert!(!folder.path().join(format!("{future}{END}")).exists());
    }

    #[test]
    fn rewind_removes_the_later_values_of_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let record = |step| Record { epoch: 0, step, values: vec![("loss".into(), 0.5)] };
        let steps = |path: &Path| {
            let (bytes, mut steps) = (fs::read(path).unwrap(), Vec::new());
            let mut bytes = &bytes[..];
            while let Some((record, rest)) = first_record(bytes) {
                let event = Event::parse_from_bytes(&record[12..record.len() - 4]).unwrap();
                steps.extend(
                    event
                        .get_summary()
                        .get_value()
                        .iter()
                        .any(|v| v.get_tag() == "loss")
                        .then(|| event.get_step()),
                );
                bytes = rest;
            }
            steps
        };
        let mut boards: Vec<_> = (0..3).map(|_| TensorBoard::create(folder.path(), &[]).unwrap()).collect();
        boards[0].log(&record(1)).unwrap();
        boards[0].flush().unwrap();
        boards[1].log(&record(2)).unwrap();
        let mark = boards[1].flush().unwrap();
        // After the mark, of the same step and of a later one.
        for (board, step) in [(1, 2), (1, 3), (2, 3)] {
            boards[board].log(&record(step)).unwrap();
            boards[board].flush().unwrap();
        }
        let mut board = TensorBoard::create(folder.path(), &[]).unwrap();
        board.rewind(&mark, 2).unwrap();
        let found =
            |boards: &[TensorBoard]| boards.iter().map(|board| steps(&board.path)).collect::<Vec<_>>();
        assert_eq!(found(&boards), [vec![1], vec![2], vec![]]);
        // The file of the mark was renamed.
        let renamed = folder.path().join("events.out.tfevents.5.000000001.7");
        boards[1].log(&record(3)).unwrap();
        fs::rename(&boards[1].path, &renamed).unwrap();
        board.rewind(&mark, 2).unwrap();
        assert_eq!(steps(&renamed), [2]);
        board.rewind(&Value::Null, 0).unwrap();
        assert_eq!((steps(&renamed), steps(&boards[0].path)), (vec![], vec![]));
    }
}
