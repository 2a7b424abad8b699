//! Records: the metrics at one time, for callbacks and loggers.

use serde_json::{Map, Value};

/// Named values at one time in a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Finished epochs.
    pub epoch: u64,
    /// Optimizer steps.
    pub step: u64,
    /// Names and values, in the order of measurement.
    pub values: Vec<(String, f64)>,
}

impl Record {
    /// Returns the value of a metric, or `None` if the record does not contain it.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// Returns the record as one JSON object. NaN and infinity become null, because JSON has no such numbers.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("epoch".into(), self.epoch.into());
        object.insert("step".into(), self.step.into());
        object.extend(self.values.iter().map(|(name, value)| (name.clone(), Value::from(*value))));
        Value::Object(object)
    }
}
