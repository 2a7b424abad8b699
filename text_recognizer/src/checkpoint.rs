//! Checkpoints of trained models: safetensors files that PyTorch can load, that are written atomically, and whose content is
//! verified by a digest.
//!
//! A checkpoint has the weights under the names of a PyTorch `state_dict`, and in its metadata a [`Description`]: all that
//! inference needs. Any other metadata is a note that no reader needs.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::data::DataSpec;
use crate::error::{Error, Result};

mod file;
mod format1;
mod size;

pub use file::{Contents, parse, read, read_weights, write};

/// The floating-point type of a model's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// Single precision.
    #[default]
    Float32,
    /// Double precision.
    Float64,
}

impl DType {
    /// Returns the tensor kind.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::Float64 => Kind::Double,
        }
    }

    /// Returns the type of weights of `kind`; all but doubles are single precision.
    pub fn of(kind: Kind) -> Self {
        if kind == Kind::Double { Self::Float64 } else { Self::Float32 }
    }
}

/// The description of a trained model: all that inference needs, except the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The model's name, as in `--model`.
    pub model: String,
    /// The model's configuration.
    pub model_config: Value,
    /// The shapes, classes and preprocessing of the data that the model was trained on.
    pub data: DataSpec,
    /// The type of the weights.
    pub dtype: DType,
    /// The kind of task, such as `classification`.
    pub task: String,
    /// The data that the task adds, such as the scaling of a series.
    pub extras: Value,
}

/// A checkpoint that was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model, its data and its task.
    pub description: Description,
    /// The weights by name, on the CPU.
    pub weights: Vec<(String, Tensor)>,
    /// All of the file's metadata, including notes.
    pub metadata: Value,
}

/// Writes `weights` and `description` to `path`; the fields of `note`, a JSON object, are added to the metadata.
///
/// # Errors
/// Fails if the folder cannot be written to, or if the note has a field `description`; the file that was at `path` is still
/// there then.
pub fn save(
    path: impl AsRef<Path>,
    weights: &[(String, Tensor)],
    description: &Description,
    note: &Value,
) -> Result<()> {
    write(path.as_ref(), weights, &metadata(description, note)?)
}

/// Returns the metadata of a checkpoint, which consists of a description and the fields of a note.
///
/// # Errors
/// Fails if the description cannot be written as JSON, or if the note has a field `description`.
pub fn metadata(description: &Description, note: &Value) -> Result<Value> {
    let description = serde_json::to_value(description)
        .map_err(|source| Error::Json { what: "cannot write the description of a model".into(), source })?;
    if !note["description"].is_null() {
        return Err(Error::invalid("the note of a checkpoint", "a field description", "other fields"));
    }
    let mut metadata = json!({ "description": description });
    if let (Some(all), Some(note)) = (metadata.as_object_mut(), note.as_object()) {
        all.extend(note.clone());
    }
    Ok(metadata)
}

/// Replaces the data that the task adds to the checkpoint `path`, and keeps all else.
///
/// # Errors
/// Fails if the file is missing, damaged or of an earlier format, or if it cannot be written; the file is unchanged then.
pub fn set_extras(path: impl AsRef<Path>, extras: Value) -> Result<()> {
    let path = path.as_ref();
    let Contents { tensors, mut metadata, .. } = read(path)?;
    let place = metadata.pointer_mut("/description/extras");
    *place.ok_or_else(|| Error::malformed(path, "it has no description of a model"))? = extras;
    write(path, &tensors, &metadata)
}

/// Reads a checkpoint of this format or an earlier one, and verifies its digest.
///
/// # Errors
/// Fails if the file is missing, cut off, damaged, not a checkpoint of this library, or of a later format.
pub fn load(path: impl AsRef<Path>) -> Result<Checkpoint> {
    let path = path.as_ref();
    let contents = read(path)?;
    let description = description(&contents).map_err(|what| {
        Error::malformed(
            path,
            format!(
                "cannot use the description of the model: {what}; try another checkpoint, or train again"
            ),
        )
    })?;
    Ok(Checkpoint { description, weights: contents.tensors, metadata: contents.metadata })
}

fn description(contents: &Contents) -> Result<Description, String> {
    if contents.format_version == 1 {
        return format1::description(&contents.metadata);
    }
    Description::deserialize(&contents.metadata["description"]).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_with_a_description_in_the_note_is_an_error() {
        let description = Description {
            model: "mlp".into(),
            model_config: json!({}),
            data: DataSpec::default(),
            dtype: DType::Float32,
            task: "classification".into(),
            extras: json!({}),
        };
        let error = metadata(&description, &json!({"description": "of mine"})).unwrap_err().to_string();
        assert!(error.contains("a field description"), "{error}");
        let metadata = metadata(&description, &json!({"run": 3})).unwrap();
        assert_eq!((&metadata["description"]["model"], &metadata["run"]), (&json!("mlp"), &json!(3)));
    }
}
