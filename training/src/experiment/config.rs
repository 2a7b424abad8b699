//! The configuration of a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use text_recognizer::lit_models::LitConfig;

use super::registry;
use crate::trainer::{LrFindConfig, TrainerConfig};

/// The whole configuration of a run. The run writes it to `config.json`, and `--config` reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The model's name.
    pub model: String,
    /// The data's name.
    pub data: String,
    /// The model's flags.
    pub model_config: Value,
    /// The data's flags.
    pub data_config: Value,
    /// The flags of loss, optimizer and schedule.
    pub lit: LitConfig,
    /// The trainer's flags.
    pub trainer: TrainerConfig,
    /// The flags of the learning-rate finder.
    pub lr_find: LrFindConfig,
    /// The flags of the run's folder.
    pub folder: FolderConfig,
}

/// The place of a run's folder.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Write to --log_dir/NAME/version_N, with the next free N [default: MODEL-DATA].
    #[arg(long = "name", value_parser = parse_name, conflicts_with = "resume")]
    pub name: Option<String>,
    /// Write all runs to this folder.
    #[arg(long = "log_dir", value_name = "DIR", default_value = Self::LOG_DIR)]
    pub log_dir: std::path::PathBuf,
}

impl FolderConfig {
    /// The default of `--log_dir`.
    pub const LOG_DIR: &str = "logs";
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["log_dir"];
}

/// Returns `text` if it is the name of one folder.
fn parse_name(text: &str) -> Result<String, String> {
    let mut parts = std::path::Path::new(text).components();
    match (parts.next(), parts.next()) {
        (Some(std::path::Component::Normal(name)), None) if name == text => Ok(text.to_owned()),
        _ => Err("expected the name of one folder without a slash".into()),
    }
}

impl RunConfig {
    /// The most bytes of its file. One with every flag has about 4 kB.
    pub const MAX_BYTES: u64 = 16 << 20;

    /// Returns the name of the run's folder in `--log_dir`.
    pub fn folder_name(&self) -> String {
        self.folder.name.clone().unwrap_or_else(|| format!("{}-{}", self.model, self.data))
    }

    /// Checks all values, and that the model fits the data.
    ///
    /// # Errors
    /// Fails at the first impossible value, with its name.
    pub fn validate(&self) -> anyhow::Result<()> {
        registry::check_pair(registry::model(&self.model)?, registry::data(&self.data)?)?;
        self.trainer.validate()?;
        Ok(self.lit.validate()?)
    }
}

/// Returns all flags in a configuration with their values, at any depth. An empty list becomes null.
pub fn flatten(config: &Value) -> Vec<(String, Value)> {
    fn add(key: &str, value: &Value, into: &mut Vec<(String, Value)>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| add(key, value, into)),
            Value::Array(items) if items.is_empty() => into.push((key.to_owned(), Value::Null)),
            value => into.push((key.to_owned(), value.clone())),
        }
    }
    let mut all = Vec::new();
    add("", config, &mut all);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flatten_finds_flags_at_any_depth() {
        let config = json!({"model": "mlp", "trainer": {"budget": {"max_epochs": 3}}, "value_columns": []});
        let flat = flatten(&config);
        let expected = [("model", json!("mlp")), ("max_epochs", json!(3)), ("value_columns", Value::Null)];
        assert_eq!(flat, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn parse_name_of_a_path_is_an_error() {
        assert_eq!(parse_name("lr 3"), Ok("lr 3".into()));
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            assert!(parse_name(name).is_err(), "{name}");
        }
    }
}
