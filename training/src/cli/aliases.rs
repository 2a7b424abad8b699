//! Aliases in kebab-case for the flags in snake_case.

use clap::Command;

/// Adds to every flag, and to every alias of it, an alias with dashes, such as `--max-epochs` for `--max_epochs`.
pub fn with_kebab_case(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let names: Vec<String> =
            arg.get_long_and_visible_aliases().into_iter().flatten().map(str::to_owned).collect();
        let kebab = names.iter().filter(|name| name.contains('_')).map(|name| name.replace('_', "-"));
        arg.aliases(kebab.collect::<Vec<_>>())
    });
    command.mut_subcommands(with_kebab_case)
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn flags_and_visible_aliases_have_dashes_too() {
        let flag = Arg::new("lr_find").long("lr_find").visible_alias("auto_lr_find");
        let command = with_kebab_case(Command::new("x").arg(flag));
        for name in ["--lr_find", "--lr-find", "--auto_lr_find", "--auto-lr-find"] {
            let matches = command.clone().try_get_matches_from(["x", name, "3"]).unwrap();
            assert_eq!(matches.get_one::<String>("lr_find").map(String::as_str), Some("3"), "{name}");
        }
    }
}
