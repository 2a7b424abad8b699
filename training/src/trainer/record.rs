//! Records: the metrics at one time, for callbacks and loggers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Named values at one time in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Finished epochs.
    pub epoch: u64,
    /// Optimizer steps.
    pub step: u64,
    /// Names and values, in the order of measurement.
    #[serde(with = "pairs")]
    pub values: Vec<(String, f64)>,
}

/// Values as pairs, in which a number may be NaN or infinite.
mod pairs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use text_recognizer::util::any_float;

    #[derive(Serialize, Deserialize)]
    struct Pair(String, #[serde(with = "any_float")] f64);

    pub fn serialize<S: Serializer>(values: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|(name, value)| Pair(name.clone(), *value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f64)>, D::Error> {
        let pairs = Vec::<Pair>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|Pair(name, value)| (name, value)).collect())
    }
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
