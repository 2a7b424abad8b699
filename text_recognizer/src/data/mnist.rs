//! MNIST (handwritten digits) and Fashion-MNIST (clothing), which have the same format.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::data::folders::SearchPath;
use crate::data::{
    BaseDataset, DataIdentity, DataModule, DataSpec, DataSplits, ImageSpec, RawDataset, download_raw_dataset,
    idx, split_dataset,
};
use crate::error::{Error, Result};
use crate::util::Progress;

/// The seed of the split, which is the same in every run, so that the validation metrics of runs are comparable.
const SPLIT_SEED: u64 = 42;
const TRAIN_FRACTION: f64 = 55_000.0 / 60_000.0;
/// The images of all splits.
const ROWS: u64 = 70_000;
const IMAGE_DIMS: [i64; 3] = [1, 28, 28];
const CLASSES: [[&str; 10]; 2] = [
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
];

/// The folder of MNIST or Fashion-MNIST.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct MnistConfig {
    /// Read the data from this folder, in raw/NAME below it or directly in it, and download it to there if it is missing
    /// [default: $TEXT_RECOGNIZER_DATA, the workspace's data/, an installed package, the user's data folder]
    #[cfg_attr(feature = "cli", arg(long = "data_dir", value_name = "DIR"))]
    pub data_dir: Option<PathBuf>,
}

#[cfg(feature = "cli")]
impl MnistConfig {
    /// The flags that a resumed run may change.
    pub const FREE: &[&str] = &["data_dir"];
}

/// The data sets in MNIST's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MnistDataset {
    /// Handwritten digits.
    Mnist,
    /// Articles of clothing.
    FashionMnist,
}

impl MnistDataset {
    /// Returns the files, digests and mirrors of the data set, from `data/raw/NAME/metadata.json` of the repository.
    ///
    /// # Errors
    /// Fails if that file is malformed.
    pub fn raw(self) -> Result<RawDataset> {
        RawDataset::from_json(match self {
            Self::Mnist => include_str!("../../../data/raw/mnist/metadata.json"),
            Self::FashionMnist => include_str!("../../../data/raw/fashion_mnist/metadata.json"),
        })
    }

    fn classes(self) -> &'static [&'static str] {
        &CLASSES[self as usize]
    }

    /// Returns the size of the images, and their mean and std over the 60,000 training images.
    fn image(self) -> ImageSpec {
        match self {
            Self::Mnist => ImageSpec::MNIST,
            Self::FashionMnist => ImageSpec::FASHION_MNIST,
        }
    }

    /// Returns the folder of Debian's package `dataset-fashion-mnist`.
    fn system_folder(self) -> Option<&'static Path> {
        (self == Self::FashionMnist).then(|| Path::new("/usr/share/datasets/fashion-mnist"))
    }
}

/// The data module of MNIST and Fashion-MNIST: 55,000 training, 5,000 validation and 10,000 test images;
/// `x: [batch, 1, 28, 28]` floats, `y: [batch]` int64.
///
/// If the config or else the environment variable `TEXT_RECOGNIZER_DATA` gives a folder, the files are read from `raw/NAME`
/// below it, or from the folder itself. Otherwise the search is: `data/raw/NAME` of the workspace around the current folder,
/// an installed system package, the user's data folder. If none contains the files, [`DataModule::prepare_data`] downloads
/// them: to the given folder, which it creates, else to the workspace, else to the user's data folder. The content is verified
/// with the published SHA-256 each time it is read.
///
/// An image takes 784 bytes in memory; it is converted to floats batch by batch.
pub struct Mnist {
    dataset: MnistDataset,
    raw: RawDataset,
    search: SearchPath,
    progress: Option<Box<OnProgress>>,
}

type OnProgress = dyn Fn(Progress<'_>) + Send + Sync;

impl fmt::Debug for Mnist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dataset, search, .. } = self;
        f.debug_struct("Mnist").field("dataset", dataset).field("search", search).finish_non_exhaustive()
    }
}

impl Mnist {
    /// Creates the data module; reads no file.
    ///
    /// # Errors
    /// Fails if the data set's metadata is malformed.
    pub fn new(dataset: MnistDataset, config: MnistConfig) -> Result<Self> {
        Ok(Self {
            dataset,
            raw: dataset.raw()?,
            search: SearchPath::here(config.data_dir.as_deref(), dataset.system_folder()),
            progress: None,
        })
    }

    /// Sets a function that a download calls after each 64 KiB.
    pub fn on_progress(mut self, progress: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Reads the images and labels of a split, whose file names begin with `split`.
    fn read(&self, folder: &Path, split: &str) -> Result<(Tensor, Tensor)> {
        let read = |name: String| {
            let file = self.raw.file(&name)?;
            let path = file.path_in(folder).ok_or_else(|| self.search.not_found(&self.raw))?;
            Ok::<_, Error>((idx::read_idx(file, &path)?, path))
        };
        let (images, images_path) = read(format!("{split}-images-idx3-ubyte.gz"))?;
        let (labels, labels_path) = read(format!("{split}-labels-idx1-ubyte.gz"))?;
        let classes = self.dataset.classes().len() as u8;
        idx::pair((&images, &images_path), (&labels, &labels_path), classes)
    }
}

impl DataModule for Mnist {
    fn spec(&self) -> DataSpec {
        let classes = self.dataset.classes();
        DataSpec {
            input_dims: IMAGE_DIMS.to_vec(),
            output_dims: vec![classes.len() as i64],
            mapping: classes.iter().map(ToString::to_string).collect(),
            image: Some(self.dataset.image()),
        }
    }

    fn folder(&self) -> Result<Option<PathBuf>> {
        self.search.folder(&self.raw).map(Some)
    }

    fn is_prepared(&self) -> Result<bool> {
        Ok(self.raw.is_complete_in(&self.search.folder(&self.raw)?))
    }

    /// Does not read existing files: [`DataModule::setup`] verifies all that it reads.
    fn prepare_data(&self) -> Result<()> {
        if self.is_prepared()? {
            return Ok(());
        }
        let folder = self.search.folder(&self.raw)?;
        download_raw_dataset(&self.raw, &folder, &mut |progress| {
            if let Some(on_progress) = &self.progress {
                on_progress(progress);
            }
        })
    }

    /// Returns the identity of the published files: [`DataModule::setup`] accepts no other content.
    fn identity(&self) -> Result<Option<DataIdentity>> {
        let digests = self.raw.files.iter().map(|file| file.content_sha256.as_bytes());
        DataIdentity::of(ROWS, &[], digests.map(Ok)).map(Some)
    }

    /// Reads the files in one pass, with the test split on a second thread: about 0.13 s on two cores.
    fn setup(&self) -> Result<DataSplits> {
        let folder = self.search.folder(&self.raw)?;
        let (train, test) = thread::scope(|scope| {
            let test = scope.spawn(|| self.read(&folder, "t10k"));
            let train = self.read(&folder, "train");
            (train, test.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let dataset = |(images, labels)| BaseDataset::new(images, labels, self.dataset.image().transforms());
        let (train, val) = split_dataset(&dataset(train?)?, TRAIN_FRACTION, SPLIT_SEED)?;
        Ok(DataSplits { train: Box::new(train), val: Box::new(val), test: Some(Box::new(dataset(test?)?)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    #[test]
    fn prepare_data_missing_files_downloads_with_progress_and_setup_reads_them() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/raw/mnist");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map(std::result::Result::unwrap) {
                let lines = BufReader::new(&stream).lines().map(std::result::Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let name = request[0].split(' ').nth(1).unwrap().trim_start_matches('/');
                let body = std::fs::read(repository.join(name)).unwrap();
                let mut stream = &stream;
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let config = MnistConfig { data_dir: Some(dir.path().join("new")) };
        let seen = Arc::new(Mutex::new(vec![]));
        let record = seen.clone();
        let mut mnist = Mnist::new(MnistDataset::Mnist, config)
            .unwrap()
            .on_progress(move |progress| record.lock().unwrap().push(progress.file.to_owned()));
        mnist.raw.mirrors = vec![format!("http://{address}/")];
        assert!(matches!(mnist.setup(), Err(Error::NotFound(_))));
        mnist.prepare_data().unwrap();
        assert_eq!(mnist.setup().unwrap().train.len(), 55_000);
        assert!(dir.path().join("new/raw/mnist/t10k-labels-idx1-ubyte.gz").is_file());
        let mut files = seen.lock().unwrap().clone();
        files.dedup();
        assert_eq!(files, mnist.raw.files.iter().map(|f| f.name.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn raw_metadata_lists_files_of_each_split() {
        for dataset in [MnistDataset::Mnist, MnistDataset::FashionMnist] {
            let raw = dataset.raw().unwrap();
            assert!(raw.files.iter().all(|f| f.content_sha256.len() == 64));
            assert!(raw.file("nothing.gz").unwrap_err().to_string().contains("t10k-labels-idx1-ubyte.gz"));
            for part in ["train", "t10k"] {
                assert!(raw.file(&format!("{part}-images-idx3-ubyte.gz")).is_ok());
                assert!(raw.file(&format!("{part}-labels-idx1-ubyte.gz")).is_ok());
            }
        }
        let error = RawDataset::from_json("{\"name\": \"x\"}").unwrap_err().to_string();
        assert!(error.contains("missing field `license`"), "{error}");
    }
}
