//! Aliases in kebab-case for the flags in snake_case.

use clap::Command;

/// Adds to every flag an alias with dashes, such as `--max-epochs` for `--max_epochs`.
pub fn with_kebab_case(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_long().map(|long| long.replace('_', "-")) {
        Some(kebab) if Some(kebab.as_str()) != arg.get_long() => arg.alias(kebab),
        _ => arg,
    });
    command.mut_subcommands(with_kebab_case)
}
