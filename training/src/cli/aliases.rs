//! Flags in kebab-case, as aliases of those in snake_case.

use clap::Command;

/// Lets every flag be typed with dashes too: `--max-epochs` for `--max_epochs`.
pub fn with_kebab_case(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_long().map(|long| long.replace('_', "-")) {
        Some(kebab) if Some(kebab.as_str()) != arg.get_long() => arg.alias(kebab),
        _ => arg,
    });
    command.mut_subcommands(with_kebab_case)
}
