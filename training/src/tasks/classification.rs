//! Classification: predicts one of several classes per row.

use std::rc::Rc;

use anyhow::{Result, bail};
use clap::ValueEnum;
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel, LossName};
use text_recognizer::models::Model;
use text_recognizer::{Error, Recognizer};

use super::{Report, Task, Trained};
use crate::trainer::RunFolder;

/// The task of predicting one of several classes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Classification;

impl Classification {
    /// The name of the task in checkpoints.
    pub const NAME: &str = Recognizer::TASK;
}

impl Task for Classification {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn lit(&self, model: Box<dyn Model>, config: &LitConfig) -> Result<Rc<dyn LitModel>> {
        if config.loss != LossName::CrossEntropy {
            let name =
                config.loss.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
            return Err(Error::invalid("loss", name, "a loss for classification: cross_entropy").into());
        }
        Ok(Rc::new(BaseLitModel::new(model, config.clone())?))
    }

    fn report(&self, name: &str, trained: &Trained, _folder: Option<&RunFolder>) -> Result<Report> {
        match trained {
            Trained::Network(..) => Ok(Report::default()),
            Trained::Baseline(_) => {
                bail!("cannot use {name} for {}: it is a baseline for forecasting", Self::NAME)
            }
        }
    }
}
