//! The configurations as command-line flags.

use std::fmt::Debug;
use std::path::Path;

use clap::{Args, Command, FromArgMatches};
use text_recognizer::data::MnistConfig;
use text_recognizer::lit_models::LitConfig;
use text_recognizer::models::MlpConfig;
use text_recognizer::optim::{OptimizerConfig, ScheduleConfig};

/// Parses a configuration from flags.
fn parse<C: Args + FromArgMatches>(flags: &[&str]) -> C {
    let command = C::augment_args(Command::new("test").no_binary_name(true));
    C::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
}

#[test]
fn flags_absent_give_default() {
    fn check<C: Args + FromArgMatches + Default + PartialEq + Debug>() {
        assert_eq!(parse::<C>(&[]), C::default());
    }
    check::<LitConfig>();
    check::<MlpConfig>();
    check::<MnistConfig>();
    check::<OptimizerConfig>();
    check::<ScheduleConfig>();
}

#[test]
fn mnist_config_from_flag_or_json_names_folder() {
    let config: MnistConfig = parse(&["--data_dir", "some/where"]);
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("some/where")));
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<MnistConfig>(&json).unwrap(), config);
    assert_eq!(serde_json::from_str::<MnistConfig>("{}").unwrap(), MnistConfig::default());
}
