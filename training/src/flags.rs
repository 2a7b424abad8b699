//! Default configurations, built from the defaults of the flags, and numbers that the data decides.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Returns the configuration of a command line without flags. Each default is then written once, at its flag.
///
/// # Panics
/// Panics if a flag of `C` has no default and is not optional.
pub fn default_flags<C: clap::Args>() -> C {
    let command = C::augment_args(clap::Command::new("")).no_binary_name(true);
    let matches = command.try_get_matches_from([""; 0]).and_then(|m| C::from_arg_matches(&m));
    matches.unwrap_or_else(|e| panic!("cannot make a default configuration: a flag has no default: {e}"))
}

/// The value of a flag: a number, or `auto` for a number that the data decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Auto<T> {
    /// A number.
    Number(T),
    /// `auto`.
    Auto(AutoWord),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AutoWord {
    /// The data decides.
    Auto,
}

impl<T> Auto<T> {
    /// The value `auto`.
    pub const AUTO: Self = Self::Auto(AutoWord::Auto);

    /// Returns the number; `None` for `auto`.
    pub fn number(self) -> Option<T> {
        match self {
            Self::Number(number) => Some(number),
            Self::Auto(_) => None,
        }
    }
}

impl<T> From<T> for Auto<T> {
    fn from(number: T) -> Self {
        Self::Number(number)
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Auto<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::AUTO),
            _ => {
                text.parse().map(Self::Number).map_err(|error| format!("expected a number or auto ({error})"))
            }
        }
    }
}

impl<T: fmt::Display> fmt::Display for Auto<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Auto(_) => f.write_str("auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_same_on_a_command_line_and_in_a_file() {
        for (text, value) in [("3", Auto::Number(3u64)), ("auto", Auto::AUTO)] {
            assert_eq!(text.parse(), Ok(value));
            assert_eq!(value.to_string(), text);
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Auto<u64>>(&json).unwrap(), value);
        }
        for text in ["", "x", "-1", "1.5", "AUTO"] {
            let error = text.parse::<Auto<u64>>().unwrap_err();
            assert!(error.starts_with("expected a number or auto ("), "{error}");
        }
    }
}
