//! Reads configuration files: JSON or YAML.
//!
//! JSON is tried first, because its numbers are exact. All other text is YAML. A document of both is an object of flags and
//! sections, in which every key appears once.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use text_recognizer::util::files::read_limited;

use crate::experiment::RunConfig;

/// Reads a configuration file.
///
/// # Errors
/// Fails if the file cannot be read, is larger than 16 MiB, or is not an object in JSON or YAML, and if a key appears twice in an
/// object.
pub fn read_config(path: &Path) -> Result<Value> {
    let failed = || format!("cannot read the configuration {}", path.display());
    let bytes = read_limited(path, RunConfig::MAX_BYTES).map_err(|error| match error {
        // Its path is in the context.
        text_recognizer::Error::Io { source, .. } => Error::new(source),
        other => Error::new(other),
    });
    let bytes = bytes.with_context(failed)?;
    let text = std::str::from_utf8(&bytes).context("found bytes that are not UTF-8, expected text");
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    text.and_then(|text| parse(text, is_toml)).with_context(failed)
}

/// Parses a configuration. `is_toml` is true for a file with the name of a TOML file.
fn parse(text: &str, is_toml: bool) -> Result<Value> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    ensure!(!is_toml, TOML);
    let value = match serde_json::from_str::<Document>(text) {
        Ok(value) => value.0,
        Err(error) => parse_yaml(text, error)?,
    };
    match value {
        Value::Object(_) => Ok(value),
        Value::Null => bail!("found an empty file, expected an object in JSON or YAML"),
        Value::String(text) if is_assignment(&text) => bail!(TOML),
        _ => bail!("the file is not an object; expected names of flags with values, in JSON or YAML"),
    }
}

const TOML: &str = "found TOML, expected JSON or YAML";

/// Parses text that is not JSON, for the reason `not_json`.
fn parse_yaml(text: &str, not_json: serde_json::Error) -> Result<Value> {
    // The text is JSON, but repeats a key.
    if not_json.is_data() {
        return Err(not_json.into());
    }
    let looks_like_json = text.trim_start().starts_with(['{', '[']) && !is_section_of_toml(text);
    if let Some(line) = text.lines().position(|line| is_comment(line, looks_like_json)) {
        bail!(
            "found a comment with slashes on line {}: comments are not JSON; try YAML, where a comment begins with #",
            line + 1
        );
    }
    let options = serde_saphyr::options! {
        // Document reports them, in the words that it has for JSON.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Document>(text, options) {
        Ok(value) => Ok(value.0),
        Err(_) if is_section_of_toml(text) => Err(anyhow!(TOML)),
        Err(_) if looks_like_json => Err(Error::new(not_json).context("the file is not JSON")),
        Err(error) => Err(anyhow!("the file is neither JSON nor YAML: {}", one_line(&error.to_string()))),
    }
}

/// Returns whether a line has a comment of C or JavaScript, at its start or, in JSON, after a value.
fn is_comment(line: &str, is_json: bool) -> bool {
    let start = line.trim_start();
    if start.starts_with("//") || start.starts_with("/*") {
        return true;
    }
    let (mut quoted, mut escaped, mut before) = (false, false, ' ');
    is_json
        && line.chars().any(|c| {
            let opens = !quoted && before == '/' && (c == '/' || c == '*');
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            before = c;
            opens
        })
}

/// Returns whether the first line with content is a section of TOML, such as `[trainer]`, or an assignment.
fn is_section_of_toml(text: &str) -> bool {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    line.is_some_and(|line| {
        let name = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
        name.is_some_and(is_name) || is_assignment(line)
    })
}

/// Returns whether text begins with an assignment of TOML, such as `lr = 1`.
fn is_assignment(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name.trim());
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c))
    })
}

/// Returns a message of several lines as one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value in which no object has a key twice.
struct Document(Value);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor).map(Document)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a flag's value, a list or an object")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(value.to_string().into())
    }

    /// JSON has no number for NaN and infinity, so they become text, which is a value of a flag too.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Document(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let (mut object, mut keys) = (Map::new(), BTreeSet::new());
        while let Some(key) = entries.next_key::<String>()? {
            if !keys.insert(key.clone()) {
                return Err(de::Error::custom(format_args!("the key {key} is given twice")));
            }
            let Document(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parse_json_and_yaml_returns_exact_values() {
        let max = u64::MAX;
        for (text, expected) in [
            (r#"{"seed": 18446744073709551615}"#, json!({"seed": max})),
            ("seed: 18446744073709551615", json!({"seed": max})),
            (r#"{"lr": 1e-4, "eps": 1E-8, "x": -0.1}"#, json!({"lr": 1e-4, "eps": 1e-8, "x": -0.1})),
            ("lr: 1e-4\neps: 1E-8\nx: -0.1\ny: .5\n", json!({"lr": 1e-4, "eps": 1e-8, "x": -0.1, "y": 0.5})),
            ("\u{feff}{\"lr\": 1}", json!({"lr": 1})),
            ("\u{feff}lr: 1", json!({"lr": 1})),
            (
                "# mine\nmodel: gru # a comment\ntrainer:\n  budget: {max_epochs: 3}\n",
                json!({"model": "gru", "trainer": {"budget": {"max_epochs": 3}}}),
            ),
            ("---\nlr: 1\n...\n", json!({"lr": 1})),
            ("{\"lr\": 1, # a comment of YAML\n \"momentum\": 0.9,}", json!({"lr": 1, "momentum": 0.9})),
            ("value_columns:\n  - a\n  - \"b\"\n", json!({"value_columns": ["a", "b"]})),
            ("season: null\nmax_steps: ~\nname:\n", json!({"season": null, "max_steps": null, "name": null})),
            ("nesterov: true\ntrack: no\n", json!({"nesterov": true, "track": "no"})),
            (
                "split_time: 2020-01-02\nmax_time: 00:01:00\n",
                json!({"split_time": "2020-01-02", "max_time": "00:01:00"}),
            ),
            ("name: 007\n", json!({"name": "007"})),
            ("lr: .inf\neps: .nan\n", json!({"lr": "inf", "eps": "NaN"})),
            ("a: &x 3\nb: *x\n", json!({"a": 3, "b": 3})),
            ("csv: a//b.csv\nname: \"// x\"\n", json!({"csv": "a//b.csv", "name": "// x"})),
        ] {
            assert_eq!(parse(text, false).map_err(|error| format!("{text}: {error:#}")), Ok(expected));
        }
    }

    #[test]
    fn parse_other_text_fails_with_its_fault() {
        let nested = "[".repeat(100_000);
        let laughs = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [*a{0}, *a{0}, *a{0}, *a{0}]\n", n - 1)
        });
        for (text, expected) in [
            ("{\n  // my run\n  \"lr\": 1\n}", "line 2: comments are not JSON"),
            ("{\"lr\": 1} // my run", "line 1: comments are not JSON"),
            ("{\"lr\": 1, // \"eps\": 2\n\"momentum\": 0.9}", "line 1: comments are not JSON"),
            ("/* mine */ {\"lr\": 1}", "comments are not JSON"),
            ("// mine\nlr: 1", "comments are not JSON"),
            ("lr = 1\nmodel = \"gru\"\n", "found TOML, expected JSON or YAML"),
            ("# mine\n[trainer]\nmax_epochs = 3\n", "found TOML"),
            ("[trainer.budget]\nmax_epochs = 3\n", "found TOML"),
            ("", "an empty file"),
            ("# nothing\n", "an empty file"),
            ("[1]", "not an object"),
            ("- lr\n- eps\n", "not an object"),
            ("gru", "not an object"),
            ("3", "not an object"),
            ("{", "the file is not JSON: EOF while parsing an object at line 1"),
            ("{\"lr\": 1, \"lr\": 2}", "the key lr is given twice"),
            ("{\"trainer\": {\"lr\": 1, \"lr\": 1}}", "the key lr is given twice"),
            ("lr: 1\nlr: 1\n", "the key lr is given twice"),
            ("lr: 1\n---\nlr: 2\n", "neither JSON nor YAML"),
            ("lr: [1\n", "neither JSON nor YAML"),
            ("lr: !!python/object:os.system 1\n", "neither JSON nor YAML"),
            (nested.as_str(), "not JSON"),
            (laughs.as_str(), "neither JSON nor YAML"),
        ] {
            let start = text.chars().take(60).collect::<String>();
            let error = format!("{:#}", parse(text, false).expect_err(&start));
            assert!(error.contains(expected) && !error.contains('\n'), "{start:?}: {error}");
        }
        assert_eq!(parse("lr = 1", true).unwrap_err().to_string(), TOML);
    }

    #[test]
    fn read_config_file_that_is_no_text_fails_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let error = |path: &Path| format!("{:#}", read_config(path).unwrap_err());
        std::fs::write(&path, b"\xff\xfe{\0}\0").unwrap();
        assert!(error(&path).contains("c.json") && error(&path).contains("not UTF-8"), "{}", error(&path));
        assert!(error(folder.path()).contains("cannot read the configuration"));
        assert!(!cfg!(unix) || error(Path::new("/dev/zero")).contains("found a device"));
    }
}
