//! Parses the values of flags.

use serde::{Deserialize, Deserializer};

/// Reads a list, or a single value as earlier versions wrote it.
pub(super) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        Many(Vec<String>),
        One(Option<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => one.into_iter().collect(),
    })
}

pub(super) fn delimiter(text: &str) -> Result<char, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok('\t'),
        "space" | " " => Ok(' '),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Ok(char::from(*byte)),
            _ => Err("expected one character such as ; or |, tab, or space".into()),
        },
    }
}

pub(super) fn decimal(text: &str) -> Result<char, String> {
    match text {
        "." | "point" => Ok('.'),
        "," | "comma" => Ok(','),
        _ => Err("expected . or ,".into()),
    }
}

pub(super) fn thousands(text: &str) -> Result<char, String> {
    match text {
        "," | "comma" => Ok(','),
        "." | "point" => Ok('.'),
        " " | "space" => Ok(' '),
        "'" | "apostrophe" => Ok('\''),
        "_" => Ok('_'),
        _ => Err("expected , or . or ' or _ or space".into()),
    }
}

pub(super) fn comment(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) if char.is_ascii_punctuation() => Ok(char),
        _ => Err("expected one character such as # or %".into()),
    }
}

pub(super) fn encoding(text: &str) -> Result<String, String> {
    match encoding_rs::Encoding::for_label(label(text).as_bytes()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected an encoding such as utf-8, latin1, cp1252, utf-16le or shift_jis".into()),
    }
}

/// Returns the label of an encoding in the standard of the Web, which does not have all names of Python.
pub(super) fn label(name: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    match name.as_str() {
        "latin-1" => "latin1".into(),
        "utf16" | "utf-16" => "utf-16le".into(),
        "sjis" | "shift-jis" => "shift_jis".into(),
        _ => name,
    }
}
