//! Pre-parses `--model`, `--data` and the flags that decide which other flags and defaults exist.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The typed values of the flags that decide which other flags and defaults exist.
#[derive(Debug, Default)]
pub struct Choice {
    /// `--model`.
    pub model: Option<String>,
    /// `--data`.
    pub data: Option<String>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--resume`.
    pub resume: Option<PathBuf>,
    /// `--log_dir`.
    pub log_dir: Option<PathBuf>,
    /// The names of all typed flags.
    pub typed: Vec<String>,
}

/// The flags whose path may have any bytes. All other values become part of `config.json`, which is UTF-8.
const ANY_BYTES: &[&str] = &["--checkpoint", "--config", "--output"];

/// Checks that every argument is UTF-8, except the paths that no file must contain.
///
/// # Errors
/// Fails at the first argument that is not, with its flag.
pub fn check_utf8(args: &[OsString]) -> Result<()> {
    for (i, arg) in args.iter().enumerate().skip(1) {
        if arg.to_str().is_some() {
            continue;
        }
        let lossy = arg.to_string_lossy();
        let before =
            args[i - 1].to_str().filter(|before| i > 1 && before.starts_with("--") && !before.contains('='));
        let flag = match lossy.split_once('=') {
            Some((flag, _)) if flag.starts_with("--") => flag,
            _ => before.unwrap_or("the argument"),
        };
        if !ANY_BYTES.contains(&flag) {
            bail!("cannot use {flag}: found {arg:?}, expected UTF-8; try a name in UTF-8");
        }
    }
    Ok(())
}

/// Returns `command` with each flag of `more` that it lacks.
pub fn union<'a>(command: Command, more: impl IntoIterator<Item = &'a Command>) -> Command {
    more.into_iter().flat_map(Command::get_arguments).fold(command, |command, arg| {
        let known = command.get_arguments().any(|known| known.get_id() == arg.get_id());
        if known { command } else { command.arg(arg.clone()) }
    })
}

/// Pre-parses `args`. `all` is a command with the flags of every model and data, which separates flags from values. Errors are
/// ignored, because the command of the chosen model and data reports them.
pub fn choice(all: &Command, args: &[OsString]) -> Choice {
    let mut command =
        Command::new("choice").ignore_errors(true).no_binary_name(false).disable_help_flag(true);
    for arg in all.get_arguments() {
        let mut bare = Arg::new(arg.get_id().clone()).value_parser(clap::value_parser!(OsString));
        if let Some(long) = arg.get_long() {
            bare = bare.long(long.to_owned());
        }
        bare =
            bare.aliases(arg.get_all_aliases().into_iter().flatten().map(str::to_owned).collect::<Vec<_>>());
        command = command.arg(if arg.get_action().takes_values() {
            bare.action(ArgAction::Append)
                .num_args(arg.get_num_args().unwrap_or_else(|| 1.into()))
                .allow_negative_numbers(true)
        } else {
            bare.action(ArgAction::Append).num_args(0..=1).require_equals(true).default_missing_value("true")
        });
    }
    // clap adds its own help flag only when it parses.
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Count);
    let Ok(matches) = command.arg(help).try_get_matches_from(args) else { return Choice::default() };
    let text = |id: &str| last(&matches, id).map(|value| value.to_string_lossy().into_owned());
    let path = |id: &str| last(&matches, id).map(PathBuf::from);
    let typed = all.get_arguments().filter(|arg| last(&matches, arg.get_id().as_str()).is_some());
    Choice {
        model: text("model"),
        data: text("data"),
        config: path("config"),
        resume: path("resume"),
        log_dir: path("log_dir"),
        typed: typed.filter_map(|arg| arg.get_long().map(str::to_owned)).collect(),
    }
}

/// Returns the last typed value of a flag.
fn last(matches: &ArgMatches, id: &str) -> Option<OsString> {
    matches.try_get_many::<OsString>(id).ok().flatten()?.next_back().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> (Option<String>, Option<String>) {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let all = Command::new("all")
            .args([flag("model"), flag("data"), flag("config"), flag("resume"), flag("log_dir")])
            .arg(flag("lr").alias("learning_rate"))
            .arg(flag("nesterov").action(ArgAction::Set).num_args(0..=1))
            .arg(flag("quiet").action(ArgAction::SetTrue));
        let args: Vec<OsString> =
            std::iter::once("x").chain(args.iter().copied()).map(OsString::from).collect();
        let Choice { model, data, .. } = choice(&all, &args);
        (model, data)
    }

    #[test]
    fn choice_finds_model_and_data_among_other_flags() {
        let both = (Some("dnn".to_owned()), Some("csv".to_owned()));
        for args in [
            &["--lr", "-1", "--model", "dnn", "--data", "csv"][..],
            &["--learning_rate=3", "--model=mlp", "--data=csv", "--model=dnn"],
            &["--help", "-h", "--model", "dnn", "--data", "csv"],
            &["--nesterov", "--model", "dnn", "--quiet", "--data", "csv"],
            &["--model", "dnn", "--data", "csv", "--no_such_flag", "--model"],
        ] {
            assert_eq!(of(args), both, "{args:?}");
        }
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(&["--model"]), (None, None));
    }

    #[cfg(unix)]
    #[test]
    fn check_utf8_other_bytes_fail_with_the_flag() {
        use std::os::unix::ffi::OsStringExt;
        let check = |args: &[&[u8]]| {
            let args: Vec<OsString> = args.iter().map(|arg| OsString::from_vec(arg.to_vec())).collect();
            check_utf8(&args).map_err(|error| error.to_string())
        };
        for (args, flag) in [
            (&[&b"x"[..], b"--csv", b"\xff.csv"][..], "--csv: found \"\\xFF.csv\""),
            (&[b"x", b"--log_dir=a\xff"], "--log_dir: "),
            (&[b"x", b"--resume", b"\xff"], "--resume: "),
            (&[b"x", b"--m\xff"], "the argument: "),
            (&[b"x", b"\xff"], "the argument: "),
            (&[b"x", b"--seed=1", b"\xff"], "the argument: "),
        ] {
            let error = check(args).unwrap_err();
            assert!(error.starts_with(&format!("cannot use {flag}")), "{error}");
        }
        for args in
            [&[&b"\xff"[..], b"--csv", b"a"][..], &[b"x", b"--config", b"\xff"], &[b"x", b"--output=\xff"]]
        {
            assert_eq!(check(args), Ok(()));
        }
    }
}
