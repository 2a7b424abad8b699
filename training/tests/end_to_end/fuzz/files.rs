//! The readers of binary files and of the metadata of data sets.

use text_recognizer::checkpoint::parse;
use text_recognizer::data::{RawDataset, parse_idx};
use text_recognizer::util::decode_image;

use super::engine::fuzz;

#[test]
fn checkpoint_that_is_damaged_is_read_or_an_error() {
    fuzz("checkpoint", 10_000, 1 << 20, |bytes| parse(bytes).is_ok());
}

#[test]
fn idx_file_that_is_damaged_is_read_or_an_error() {
    fuzz("idx", 10_000, 1 << 20, |bytes| parse_idx(bytes, "x").is_ok());
}

#[test]
fn image_that_is_damaged_is_decoded_or_an_error() {
    fuzz("image", 5_000, 600 << 20, |bytes| {
        let (gray, color) = (decode_image(bytes, true), decode_image(bytes, false));
        assert_eq!(gray.is_ok(), color.is_ok());
        gray.is_ok()
    });
}

#[test]
fn metadata_of_a_data_set_that_is_damaged_is_read_or_an_error() {
    fuzz("metadata", 5_000, 1 << 20, |bytes| {
        std::str::from_utf8(bytes).is_ok_and(|text| RawDataset::from_json(text).is_ok())
    });
}
