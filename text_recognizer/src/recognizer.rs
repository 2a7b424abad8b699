//! Inference: from a checkpoint and an image to a class.

use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, RgbImage};
use serde::Serialize;
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::checkpoint::{self, DType};
use crate::data::{DataSpec, ImageSpec};
use crate::error::{Error, Result};
use crate::models::{self, Model};
use crate::nn::{ForwardContext, Placement};
use crate::util::{decode_dynamic, into_gray, read_dynamic};

/// The number of images in memory at a time, which bounds the memory for a folder of any size.
const BATCH: usize = 256;

/// The prediction of a [`Recognizer`] for one image.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The most probable class.
    pub class: String,
    /// The probability of that class, in 0..=1.
    pub probability: f64,
    /// The most probable classes with their probabilities, in descending order.
    pub top: Vec<(String, f64)>,
}

/// A trained classifier of images, with the preprocessing of its training data.
///
/// An image is converted to gray and resized to the size of the training images (bicubic with antialiasing, as in Pillow;
/// the aspect ratio is not kept), then normalized with their mean and std. Nothing is inverted: MNIST's digits are white on
/// black.
///
/// ```
/// use text_recognizer::checkpoint::{self, DType, Description};
/// use text_recognizer::prelude::*;
/// use serde_json::json;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (path, image) = (folder.path().join("best.safetensors"), folder.path().join("digit.png"));
/// # image::GrayImage::new(40, 30).save(&image)?;
/// let data = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?.spec();
/// let config = MlpConfig { fc1: 8, fc2: 4, ..MlpConfig::default() };
/// let model = Mlp::new(&config, &data, Placement::cpu(42))?;
/// let description = Description {
///     model: "mlp".into(),
///     model_config: serde_json::to_value(&config)?,
///     data,
///     dtype: DType::Float32,
///     task: Recognizer::TASK.into(),
///     extras: json!({}),
/// };
/// checkpoint::save(&path, &model.parameters().snapshot(), &description, &json!({}))?;
///
/// let prediction = Recognizer::load(&path)?.predict_path(&image)?;
/// assert!("0123456789".contains(&prediction.class) && prediction.top.len() == 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Recognizer {
    model: Box<dyn Model>,
    data: DataSpec,
    image: ImageSpec,
    /// Width and height of the model's images, in pixels.
    size: [u32; 2],
    classes: Vec<String>,
    top_k: usize,
}

impl Recognizer {
    /// The task in the description of a checkpoint that a recognizer loads.
    pub const TASK: &str = "classification";

    /// Loads a checkpoint of a classifier of images, onto the CPU.
    ///
    /// # Errors
    /// Fails if [`checkpoint::load`] does, if the checkpoint is of another task or of a model that [`models::build`] does not
    /// have, or if its tensors are not those of the model: the message lists each of them.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let checkpoint = checkpoint::load(path)?;
        let description = checkpoint.description;
        if description.task != Self::TASK {
            return Err(Error::invalid(
                format!("the task of {}", path.display()),
                description.task,
                Self::TASK,
            ));
        }
        let weights = &checkpoint.weights;
        Self::build(
            &description.model,
            &description.model_config,
            description.data,
            description.dtype,
            weights,
        )
    }

    /// Loads a plain PyTorch `state_dict` that `safetensors.torch.save_file` wrote. The file has no metadata, so the model
    /// and its data are given: `config` as JSON, in which absent fields have their defaults.
    ///
    /// ```
    /// use serde_json::json;
    /// use text_recognizer::prelude::*;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("mlp.safetensors");
    /// let data = Mnist::new(MnistDataset::Mnist, MnistConfig::default())?.spec();
    /// # let config = MlpConfig { fc1: 8, fc2: 4, ..MlpConfig::default() };
    /// # let model = Mlp::new(&config, &data, Placement::cpu(42))?;
    /// # text_recognizer::tch::Tensor::write_safetensors(&model.parameters().snapshot(), &path)?;
    /// let recognizer = Recognizer::from_state_dict(&path, "mlp", &json!({"fc1": 8, "fc2": 4}), data)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the file cannot be read, if [`models::build`] does, or if the tensors are not those of the model.
    pub fn from_state_dict(
        path: impl AsRef<Path>,
        model: &str,
        config: &Value,
        data: DataSpec,
    ) -> Result<Self> {
        let weights = checkpoint::read_weights(path.as_ref())?;
        let dtype = weights.first().map_or(DType::default(), |(_, tensor)| DType::of(tensor.kind()));
        Self::build(model, config, data, dtype, &weights)
    }

    /// Wraps a trained model, such as one of your own, and the description of its data.
    ///
    /// # Errors
    /// Fails if `data` does not describe images and classes.
    pub fn new(model: Box<dyn Model>, data: DataSpec) -> Result<Self> {
        let image = data.image.ok_or_else(|| {
            Error::invalid("the image of the data", "absent", "the size, mean and std of the training images")
        })?;
        let size = [image.width, image.height].map(|side| u32::try_from(side).ok().filter(|side| *side > 0));
        let ([Some(width), Some(height)], true) =
            (size, image.mean.is_finite() && image.std.is_finite() && image.std > 0.0)
        else {
            let expected = "a height and width of at least 1, a finite mean and a std greater than 0";
            return Err(Error::invalid("the image of the data", format!("{image:?}"), expected));
        };
        if Some(data.inputs()?) != image.height.checked_mul(image.width) {
            let expected = format!("[1, {height}, {width}], the size of an image");
            return Err(Error::shape("the input of the data", expected, &data.input_dims));
        }
        let classes = match (&data.output_dims[..], data.mapping.len()) {
            (&[n], 0) if n > 0 => (0..n).map(|class| class.to_string()).collect(),
            (&[n], named) if n == named as i64 && n > 0 => data.mapping.clone(),
            (other, named) => {
                let expected = format!("[classes], with as many classes as names, which are {named}");
                return Err(Error::shape("the output of the data", expected, other));
            }
        };
        Ok(Self { model, data, image, size: [width, height], classes, top_k: 5 })
    }

    fn build(
        model: &str,
        config: &Value,
        data: DataSpec,
        dtype: DType,
        weights: &[(String, Tensor)],
    ) -> Result<Self> {
        let placement = Placement { kind: dtype.kind(), ..Placement::cpu(0).for_weights(weights) };
        let model = models::build(model, config, &data, placement)?;
        model.parameters().load(weights)?;
        Self::new(model, data)
    }

    /// Sets the length of [`Prediction::top`], by default 5. It is at least 1, and at most the number of classes.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k.max(1);
        self
    }

    /// Returns the description of the training data.
    pub fn data(&self) -> &DataSpec {
        &self.data
    }

    /// Reads a PNG or JPEG file and predicts its class.
    ///
    /// # Errors
    /// Fails if the file cannot be read or decoded (see [`crate::util::decode_image`]); the message names `path`.
    pub fn predict_path(&self, path: impl AsRef<Path>) -> Result<Prediction> {
        self.predict_one(self.prepare(read_dynamic(path.as_ref())?)?)
    }

    /// Reads PNG and JPEG files and predicts their classes, in the order of `paths` and in batches.
    ///
    /// # Errors
    /// Fails at the first file that cannot be read or decoded; the message names it.
    pub fn predict_paths(&self, paths: &[impl AsRef<Path>]) -> Result<Vec<Prediction>> {
        let mut predictions = Vec::with_capacity(paths.len());
        for paths in paths.chunks(BATCH) {
            let images = paths.iter().map(|path| self.prepare(read_dynamic(path.as_ref())?));
            predictions.extend(self.predict_batch(&images.collect::<Result<Vec<_>>>()?)?);
        }
        Ok(predictions)
    }

    /// Predicts the class of an image from the bytes of its PNG or JPEG file.
    ///
    /// # Errors
    /// Fails if the image cannot be decoded.
    pub fn predict_bytes(&self, bytes: &[u8]) -> Result<Prediction> {
        self.predict_one(self.prepare(decode_dynamic(bytes, Path::new("image"))?)?)
    }

    /// Predicts the class of a decoded image of any size: `[height, width]` or `[3, height, width]` of kind uint8, as
    /// [`crate::util::read_image`] returns it.
    ///
    /// # Errors
    /// Fails if `image` has another shape or kind.
    pub fn predict(&self, image: &Tensor) -> Result<Prediction> {
        self.predict_one(self.prepare(from_tensor(image)?)?)
    }

    /// Converts an image to the gray bytes of the model's size, `[height, width]`.
    fn prepare(&self, image: DynamicImage) -> Result<Tensor> {
        let [width, height] = self.size;
        let gray = into_gray(image);
        let gray = if gray.dimensions() == (width, height) {
            gray
        } else {
            resize(&gray, width, height, FilterType::CatmullRom)
        };
        Ok(Tensor::f_from_slice(gray.as_raw())?.f_view([self.image.height, self.image.width])?)
    }

    fn predict_one(&self, image: Tensor) -> Result<Prediction> {
        Ok(self.predict_batch(&[image])?.swap_remove(0))
    }

    /// Predicts the classes of prepared images, `[height, width]` each.
    fn predict_batch(&self, images: &[Tensor]) -> Result<Vec<Prediction>> {
        let Placement { device, kind, .. } = self.model.parameters().placement();
        let size = [&[images.len() as i64], &self.data.input_dims[..]].concat();
        let mut x = Tensor::f_stack(images, 0)?.f_view(&size[..])?.f_to_device(device)?;
        for transform in self.image.transforms() {
            x = transform.apply(x, kind)?;
        }
        let logits = tch::no_grad(|| self.model.forward(&x, &mut ForwardContext::eval()))?;
        if logits.size() != [images.len() as i64, self.classes.len() as i64] {
            let expected = format!("[{}, {}]", images.len(), self.classes.len());
            return Err(Error::shape("the prediction of the model", expected, &logits.size()));
        }
        let logits = logits.f_to_device(tch::Device::Cpu)?;
        let k = self.top_k.min(self.classes.len()) as i64;
        let (top, classes) = logits.f_softmax(-1, Kind::Double)?.f_topk(k, -1, true, true)?;
        let rows = Vec::<Vec<f64>>::try_from(top)?.into_iter().zip(Vec::<Vec<i64>>::try_from(classes)?);
        let rows = rows.map(|(probabilities, classes)| {
            let names = classes.iter().map(|&class| self.classes[class as usize].clone());
            let top: Vec<_> = names.zip(probabilities).collect();
            Prediction { class: top[0].0.clone(), probability: top[0].1, top }
        });
        Ok(rows.collect())
    }
}

/// Converts a tensor of [`crate::util::read_image`] to an image.
fn from_tensor(image: &Tensor) -> Result<DynamicImage> {
    if image.kind() != Kind::Uint8 {
        return Err(Error::invalid("the kind of the image", format!("{:?}", image.kind()), "Uint8"));
    }
    let size = image.size();
    let wrong =
        || Error::shape("the image", "[height, width] or [3, height, width], at least 1 pixel", &size);
    let (pixels, height, width) = match size[..] {
        [height, width] => (image.shallow_clone(), height, width),
        [3, height, width] => (image.f_permute([1, 2, 0])?, height, width),
        _ => return Err(wrong()),
    };
    let [height, width] = [height, width].map(|side| u32::try_from(side).unwrap_or(0));
    if height == 0 || width == 0 {
        return Err(wrong());
    }
    let bytes = Vec::try_from(pixels.f_contiguous()?.f_view(-1)?)?;
    let image = if size.len() == 2 {
        GrayImage::from_raw(width, height, bytes).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, bytes).map(DynamicImage::from)
    };
    image.ok_or_else(wrong)
}
