//! The names that most programs need: `use text_recognizer::prelude::*;`.

pub use crate::checkpoint::{self, Checkpoint, DType, Description};
pub use crate::data::{
    BaseDataset, Batch, DataLoader, DataModule, DataSpec, DataSplits, Dataset, Mnist, MnistConfig,
    MnistDataset, Shuffle, ToFloat, Transform,
};
pub use crate::lit_models::{
    Accuracy, BaseLitModel, LitConfig, LitModel, Loss, LossName, Metric, MetricName,
};
pub use crate::models::{Mlp, MlpConfig, Model};
pub use crate::nn::{ForwardContext, Parameters, Placement};
pub use crate::optim::Optimizer;
pub use crate::recognizer::{Prediction, Recognizer};
