//! A TensorBoard event file, with the run's hyperparameters for the HPARAMS tab.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use protobuf::well_known_types::Value as ProtoValue;
use protobuf::{Message, RepeatedField};
use serde_json::Value;
use tensorboard_proto::api::{Experiment, MetricInfo, MetricName, Status};
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
}

impl TensorBoard {
    /// Creates an event file in `folder`, with a name that no other process uses. The file starts with the
    /// hyperparameters `hparams` and the names of `metrics`, by which TensorBoard compares runs.
    ///
    /// # Errors
    /// Fails if the file cannot be created or written.
    pub fn create(folder: &Path, hparams: &[(String, Value)], metrics: &[String]) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(file_name(now, std::process::id()));
        let file = File::create_new(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut board = Self { path, writer: RecordWriter::new(BufWriter::new(file)) };
        let mut version = Event::new();
        version.set_file_version("brain.Event:2".into());
        board.write(version, 0)?;
        board.write_summary(hparams_start(hparams, metrics), 0)?;
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
        self.write_summary(summary, record.step)
    }

    fn flush(&mut self) -> Result<Value> {
        self.writer.flush().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Value::Null)
    }

    /// Writes a start event, because event files are append-only. TensorBoard then ignores the values of earlier files
    /// after `step`.
    fn rewind(&mut self, _mark: &Value, step: u64) -> Result<()> {
        let mut start = SessionLog::new();
        start.set_status(SessionLog_SessionStatus::START);
        let mut event = Event::new();
        event.set_session_log(start);
        self.write(event, step + 1)
    }

    fn finish(&mut self, results: &Record) -> Result<()> {
        self.log(results)?;
        let mut end = SessionEndInfo::new();
        end.set_status(Status::STATUS_SUCCESS);
        let mut data = HParamsPluginData::new();
        data.set_session_end_info(end);
        let mut summary = Summary::new();
        summary.set_value(RepeatedField::from_vec(vec![hparams_value("_hparams_/session_end_info", &data)]));
        self.write_summary(summary, results.step)?;
        self.flush().map(drop)
    }
}

/// Returns the name of an event file. Names sort by time, because TensorBoard reads the files of a resumed run in the order of
/// their names.
fn file_name(now: Duration, process: u32) -> String {
    format!("events.out.tfevents.{}.{:09}.{process}", now.as_secs(), now.subsec_nanos())
}

/// Returns the two values that the HPARAMS tab needs at the start of a run.
fn hparams_start(hparams: &[(String, Value)], metrics: &[String]) -> Summary {
    let infos = metrics.iter().map(|metric| {
        let mut name = MetricName::new();
        name.set_tag(metric.clone());
        let mut info = MetricInfo::new();
        info.set_name(name);
        info
    });
    let mut experiment = Experiment::new();
    experiment.set_metric_infos(RepeatedField::from_iter(infos));
    let mut experiment_data = HParamsPluginData::new();
    experiment_data.set_experiment(experiment);

    let mut start = SessionStartInfo::new();
    start.set_hparams(
        hparams.iter().map(|(name, value)| (name.clone(), proto_value(value))).collect::<HashMap<_, _>>(),
    );
    let mut start_data = HParamsPluginData::new();
    start_data.set_session_start_info(start);

    let mut summary = Summary::new();
    summary.set_value(RepeatedField::from_vec(vec![
        hparams_value("_hparams_/experiment", &experiment_data),
        hparams_value("_hparams_/session_start_info", &start_data),
    ]));
    summary
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

/// Returns a summary value that carries `data` for the plugin of the HPARAMS tab.
fn hparams_value(tag: &str, data: &HParamsPluginData) -> Summary_Value {
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
    value
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
}
