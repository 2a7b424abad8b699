//! The metadata of format 1: the whole configuration of the run.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{DType, Description};
use crate::data::{DataSpec, ImageSpec};

/// Returns the description of the model in a checkpoint of format 1.
pub(super) fn description(metadata: &Value) -> Result<Description, String> {
    let (run, scaler) = (&metadata["config"]["run"], &metadata["config"]["scaler"]);
    let text = |value: &Value, name: &str| {
        value.as_str().map(str::to_owned).ok_or_else(|| format!("it has no {name}"))
    };
    let mut data = DataSpec::deserialize(&metadata["config"]["data"]).map_err(|error| error.to_string())?;
    data.image = match run["data"].as_str() {
        Some("mnist") => Some(ImageSpec::MNIST),
        Some("fashion_mnist") => Some(ImageSpec::FASHION_MNIST),
        _ => None,
    };
    let (task, extras) = match scaler {
        Value::Null => ("classification", json!({})),
        scaler => {
            let config = &run["data_config"];
            let stride = config["windows"]["stride"].as_u64().ok_or("it has no stride of the windows")?;
            ("forecasting", json!({"scaler": scaler, "stride": stride, "baselines": config["baselines"]}))
        }
    };
    let double = run["trainer"]["precision"] == "64";
    Ok(Description {
        model: text(&run["model"], "name of the model")?,
        model_config: run["model_config"].clone(),
        data,
        dtype: if double { DType::Float64 } else { DType::Float32 },
        task: task.into(),
        extras,
    })
}
