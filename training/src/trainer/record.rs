//! What was measured, on its way to callbacks and loggers.

use serde_json::{Map, Value};

/// Named values at one moment of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Epochs finished before this moment.
    pub epoch: u64,
    /// Optimiser steps taken.
    pub step: u64,
    /// Names and values, in the order of their measurement.
    pub values: Vec<(String, f64)>,
}

impl Record {
    /// The value of a metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// As one JSON object; what is not finite becomes null, as JSON has no word for it.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("epoch".into(), self.epoch.into());
        object.insert("step".into(), self.step.into());
        object.extend(self.values.iter().map(|(name, value)| (name.clone(), Value::from(*value))));
        Value::Object(object)
    }
}
