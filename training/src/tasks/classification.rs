//! Classification: predicts one of several classes per row.

use std::rc::Rc;

use anyhow::Result;
use text_recognizer::Recognizer;
use text_recognizer::lit_models::{BaseLitModel, LitConfig, LitModel};
use text_recognizer::models::Model;

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
        Ok(Rc::new(BaseLitModel::new(model, config.clone())?))
    }

    fn report(&self, _name: &str, _trained: &Trained, _folder: Option<&RunFolder>) -> Result<Report> {
        Ok(Report::default())
    }
}
