//! Output to standard output and standard error. A closed pipe or terminal, as in `2>&1 | head -1`, does not end a run.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result};
use console::Term;

/// Writes a line to standard error, at every log level. Errors are ignored.
pub fn note(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Writes a line to standard output.
///
/// # Errors
/// Fails if the line cannot be written. A closed pipe is not an error.
pub fn result(line: impl Display) -> Result<()> {
    write(format!("{line}\n").as_bytes())
}

/// Writes bytes to standard output.
///
/// # Errors
/// Fails if the bytes cannot be written. A closed pipe is not an error.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to standard output"),
    }
}

/// Returns the width of the terminal in columns, or 80 without a terminal.
pub fn columns(term: &Term) -> usize {
    term.size_checked().map_or(80, |(_, columns)| usize::from(columns)).max(1)
}

/// Joins the message of an error and those of its causes. A message that already ends with its cause is not repeated.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |all, cause| {
        if all.is_empty() {
            cause
        } else if all.ends_with(&cause) {
            all
        } else {
            format!("{all}: {cause}")
        }
    })
}

/// Quotes `text` so that a POSIX shell reads it as one word. Text that is not UTF-8 is written as `$'\\ooo'`, which bash,
/// zsh and ksh read.
pub fn shell_quote(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match text.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => {
            let bytes = text.as_encoded_bytes().iter().map(|&byte| match byte {
                b'\'' | b'\\' => format!("\\{}", byte as char),
                b' '..=b'~' => (byte as char).to_string(),
                byte => format!("\\{byte:03o}"),
            });
            format!("$'{}'", bytes.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let missing = || std::io::Error::other("no such file");
        let library = text_recognizer::Error::io("cannot read", "a.json")(missing());
        assert_eq!(causes(&anyhow::Error::new(library)), "cannot read a.json: no such file");
        let error = anyhow::Error::new(missing()).context("cannot open b").context("cannot start");
        assert_eq!(causes(&error), "cannot start: cannot open b: no such file");
    }

    #[test]
    fn shell_quote_leaves_plain_words_and_quotes_the_rest() {
        for (text, quoted) in [
            ("logs/mlp-mnist/version_0", "logs/mlp-mnist/version_0"),
            ("my logs/a", "'my logs/a'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("~x", "'~x'"),
            ("", "''"),
            ("größe", "'größe'"),
        ] {
            assert_eq!(shell_quote(text), quoted);
        }
    }

    #[test]
    #[cfg(unix)]
    fn shell_quote_of_bytes_that_are_not_utf_8_escapes_them() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(shell_quote(OsStr::from_bytes(b"a \xff\\1")), r"$'a \377\\1'");
    }
}
