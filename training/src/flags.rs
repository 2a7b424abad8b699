//! Default configurations, built from the defaults of the flags.

/// Returns the configuration of a command line without flags. Each default is then written once, at its flag.
///
/// # Panics
/// Panics if a flag of `C` has no default and is not optional.
pub fn default_flags<C: clap::Args>() -> C {
    let command = C::augment_args(clap::Command::new("")).no_binary_name(true);
    let matches = command.try_get_matches_from([""; 0]).and_then(|m| C::from_arg_matches(&m));
    matches.unwrap_or_else(|e| panic!("cannot make a default configuration: a flag has no default: {e}"))
}
