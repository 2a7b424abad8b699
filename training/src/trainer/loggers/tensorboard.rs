//! A TensorBoard event file, with the run's hyperparameters for the HPARAMS tab.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use protobuf::well_known_types::Value as ProtoValue;
use protobuf::{Message, RepeatedField};
use serde_json::Value;
use tensorboard_proto::api::Status;
use tensorboard_proto::event::{Event, SessionLog, SessionLog_SessionStatus};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};
use tensorboard_proto::summary::{Summary, Summary_Value, SummaryMetadata, SummaryMetadata_PluginData};
use tensorboard_proto::tensor::TensorProto;
use tensorboard_proto::tensor_shape::{TensorShapeProto, TensorShapeProto_Dim};
use tensorboard_proto::types::DataType;
use tensorboard_rs::record_writer::RecordWriter;

use super::Logger;
use crate::trainer::record::Record;

/// A logger that writes scalars to a TensorBoard event file. It uses only the record format of the crate
/// `tensorboard_rs`, because the crate's `SummaryWriter` loses values that are not flushed and panics on a full disk.
pub struct TensorBoard {
    path: PathBuf,
    writer: RecordWriter<BufWriter<File>>,
    /// The records of the latest step.
    latest: Vec<Record>,
}

/// The ending of the name of a file with the status of a run that ended. It is a file of its own, which a resume removes,
/// because TensorBoard shows the first status that it reads.
const END: &str = ".end";

impl TensorBoard {
    /// Creates an event file in `folder`, with a name after those of all event files there. The file starts with the
    /// hyperparameters `hparams`, by which TensorBoard compares runs.
    ///
    /// # Errors
    /// Fails if the file cannot be created or written.
    pub fn create(folder: &Path, hparams: &[(String, Value)]) -> Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for name in names.iter().filter(|name| time_of(name).is_some() && name.ends_with(END)) {
            let path = folder.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The clock may have been set back since then, or be that of another host.
        let last = names.iter().filter_map(|name| time_of(name)).max();
        let now = last.map_or(now, |last| now.max(last.saturating_add(Duration::from_nanos(1))));
        let mut board = Self::open(folder.join(file_name(now, std::process::id())))?;
        board.write_summary(hparams_start(hparams), 0)?;
        Ok(board)
    }

    /// Creates the event file `path`.
    fn open(path: PathBuf) -> Result<Self> {
        let file = File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut board = Self { path, writer: RecordWriter::new(BufWriter::new(file)), latest: Vec::new() };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".into());
        board.write(version, 0)?;
        Ok(board)
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
        let values = record.values.iter().map(|(name, value)| {
            let mut scalar = Summary_Value::new();
            scalar.set_tag(name.clone());
            scalar.set_simple_value(*value as f32);
            scalar
        });
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_iter(values));
        self.latest.retain(|latest| latest.step == record.step);
        self.latest.push(record.clone());
        self.write_summary(summary, record.step)
    }

    /// Returns the records of the latest step as the mark.
    fn flush(&mut self) -> Result<Value> {
        self.writer.flush().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(serde_json::to_value(&self.latest)?)
    }

    /// Writes a start event, because event files are append-only. TensorBoard then ignores the values of earlier files
    /// from its step on. This is the step of the last records before the mark, which are written again.
    fn rewind(&mut self, mark: &Value, step: u64) -> Result<()> {
        // Runs of earlier versions have no records in their marks.
        let records: Option<Vec<Record>> = serde_json::from_value(mark.clone())?;
        let from = match &records {
            Some(records) => records.first().map_or(0, |record| record.step),
            None if step == 0 => 0,
            None => step + 1,
        };
        let mut start = SessionLog::new();
        start.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_session_log(start);
        self.write(event, from)?;
        self.latest.clear();
        records.iter().flatten().try_for_each(|record| self.log(record))
    }

    fn finish(&mut self, success: bool) -> Result<()> {
        self.flush()?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(END);
        let mut file = Self::open(self.path.with_file_name(name))?;
        file.write_summary(hparams_end(success), 0)?;
        file.flush().map(drop)
    }
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
}
