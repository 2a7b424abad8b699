//! Numbers in JSON that may be NaN or infinite: JSON has only finite numbers, so that all others are text. For
//! `#[serde(with = "any_float")]` on a field of type `f64` or `Option<f64>`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type of a field: `f64` or `Option<f64>`.
pub trait Field: Copy {
    /// Returns the number, if there is one.
    fn number(self) -> Option<f64>;

    /// Returns the field with a number; `None` if the field needs a number and there is none.
    fn of(number: Option<f64>) -> Option<Self>;
}

impl Field for f64 {
    fn number(self) -> Option<f64> {
        Some(self)
    }

    fn of(number: Option<f64>) -> Option<Self> {
        number
    }
}

impl Field for Option<f64> {
    fn number(self) -> Option<f64> {
        self
    }

    fn of(number: Option<f64>) -> Option<Self> {
        Some(number)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Number(f64),
    Text(String),
}

/// Writes a finite number as such, and any other as `"NaN"`, `"inf"` or `"-inf"`.
///
/// # Errors
/// Fails if the serializer does.
pub fn serialize<T: Field, S: Serializer>(field: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let form = field.number().map(|number| match number.is_finite() {
        true => Form::Number(number),
        false => Form::Text(number.to_string()),
    });
    form.serialize(serializer)
}

/// Reads what [`serialize`] wrote.
///
/// # Errors
/// Fails if the value is neither a number nor the text of one.
pub fn deserialize<'de, T: Field, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let number = match Option::<Form>::deserialize(deserializer)? {
        None => None,
        Some(Form::Number(number)) => Some(number),
        Some(Form::Text(text)) => Some(text.parse().map_err(D::Error::custom)?),
    };
    T::of(number).ok_or_else(|| D::Error::custom("found null, expected a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct State {
        #[serde(with = "super")]
        always: f64,
        #[serde(with = "super")]
        maybe: Option<f64>,
    }

    #[test]
    fn any_float_written_and_read_is_the_same() {
        for number in [0.1, f64::INFINITY, f64::NEG_INFINITY, -f64::MAX] {
            for state in
                [State { always: number, maybe: Some(number) }, State { always: number, maybe: None }]
            {
                let json = serde_json::to_string(&state).unwrap();
                assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state, "{json}");
            }
        }
        let json = serde_json::to_string(&State { always: f64::NAN, maybe: None }).unwrap();
        assert_eq!(json, r#"{"always":"NaN","maybe":null}"#);
        assert!(serde_json::from_str::<State>(&json).unwrap().always.is_nan());
        for json in [r#"{"always":"x","maybe":1}"#, r#"{"always":null,"maybe":1}"#] {
            assert!(serde_json::from_str::<State>(json).is_err(), "{json}");
        }
    }
}
