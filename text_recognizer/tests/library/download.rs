//! Downloads from servers on the loopback interface, correct and faulty ones.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::server::{Answer, Correct, Faulty};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use text_recognizer::data::{RawDataset, RawFile, download_raw_dataset};
use text_recognizer::util::{Progress, download_url};

const NAME: &str = "digits.gz";

/// Returns content that gzip cannot compress much, so that it arrives in several pieces.
fn content() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300_000).map(|_| next()).collect()
}

fn gz(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn published() -> Vec<u8> {
    gz(&content(), 6)
}

fn dataset(mirrors: &[&str]) -> RawDataset {
    RawDataset {
        name: "digits".into(),
        license: "none".into(),
        mirrors: mirrors.iter().map(ToString::to_string).collect(),
        files: vec![RawFile {
            name: NAME.into(),
            content_bytes: content().len() as u64,
            content_sha256: format!("{:x}", Sha256::digest(content())),
        }],
    }
}

fn download(mirrors: &[&str], folder: &Path) -> Result<(), String> {
    download_raw_dataset(&dataset(mirrors), folder, &mut |_| {}).map_err(|e| e.to_string())
}

/// Returns the names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn download_missing_file_reports_progress_and_is_not_repeated() {
    let server = Correct::serve(NAME, published());
    let dir = folder();
    let mut steps = vec![];
    let data = dir.path().join("new/folder");
    download_raw_dataset(
        &dataset(&[&server.url()]),
        &data,
        &mut |Progress { file, url, received, total }| {
            assert_eq!((file, url), (NAME, &*format!("{}{NAME}", server.url())));
            steps.push((received, total));
        },
    )
    .unwrap();
    assert_eq!(fs::read(data.join(NAME)).unwrap(), published());
    assert_eq!(names(&data), [NAME]);
    let length = published().len() as u64;
    assert!(steps.is_sorted() && steps.len() > 1);
    assert_eq!(*steps.last().unwrap(), (length, Some(length)));

    download(&[&server.url()], &data).unwrap();
    assert_eq!(server.requests(), ["bytes=none"]);
}

#[test]
fn download_existing_file_is_verified_and_never_replaced() {
    let dir = folder();
    let path = dir.path().join(NAME);
    fs::write(&path, gz(&content(), 1)).unwrap();
    download(&[], dir.path()).unwrap();
    fs::rename(&path, dir.path().join("digits")).unwrap();
    fs::write(dir.path().join("digits"), content()).unwrap();
    download(&[], dir.path()).unwrap();
    fs::remove_file(dir.path().join("digits")).unwrap();

    let mut other = content();
    other[7] ^= 1;
    for (bytes, expected) in [
        (gz(&other, 6), "SHA-256 is "),
        (gz(&content()[1..], 6), "the content has 299999 bytes, expected 300000"),
        (gz(&[&content()[..], &[0; 9]].concat(), 6), "the content has more than 300000 bytes"),
        (published()[..1000].to_vec(), "cannot gunzip after "),
        (vec![], "the content has 0 bytes"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let error = download(&[], dir.path()).unwrap_err();
        assert!(error.contains(expected) && error.contains("delete it and run again"), "{error}");
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn download_part_is_continued() {
    let server = Correct::serve(NAME, published());
    let dir = folder();
    fs::write(dir.path().join("digits.gz.part"), &published()[..1000]).unwrap();
    download(&[&server.url()], dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
    assert_eq!(server.requests(), ["bytes=1000-"]);
}

#[test]
fn download_whole_part_is_kept_and_other_part_is_replaced() {
    let foreign = vec![7; 5000];
    let overlong = [published(), vec![7; 5000]].concat();
    for (part, requests) in [(published(), 1), (overlong, 2), (foreign, 2)] {
        let server = Correct::serve(NAME, published());
        let dir = folder();
        fs::write(dir.path().join("digits.gz.part"), part).unwrap();
        download(&[&server.url()], dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
        assert_eq!(names(dir.path()), [NAME]);
        assert_eq!(server.requests().len(), requests);
    }
}

#[test]
fn download_server_without_ranges_replaces_part() {
    // The second part is longer than the file, so that a remaining end of it would be found.
    for part in [published()[..1000].to_vec(), vec![7; 400_000]] {
        let server = Faulty::serve(|_| Answer::whole(&published()));
        let dir = folder();
        fs::write(dir.path().join("digits.gz.part"), part).unwrap();
        download(&[&server.url()], dir.path()).unwrap();
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
    }
}

#[test]
fn download_broken_connection_continues_after_last_byte() {
    // Each answer announces all remaining bytes, and stops after 120,000.
    let server = Faulty::serve(|request| {
        let rest = &published()[request.range_start..];
        Answer::range(request.range_start, published().len())
            .announces(rest.len())
            .sends(&rest[..rest.len().min(120_000)])
    });
    let dir = folder();
    download(&[&server.url()], dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
    assert_eq!(server.range_starts(), [0, 120_000, 240_000]);
}

#[test]
fn download_mirror_that_breaks_off_is_continued_by_next_mirror() {
    let first = Faulty::serve(|request| {
        let rest = &published()[request.range_start..];
        Answer::range(request.range_start, published().len()).announces(rest.len()).sends(&rest[..1000])
    });
    let second = Correct::serve(NAME, published());
    let dir = folder();
    download(&[&first.url(), &second.url()], dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
    assert_eq!(first.range_starts(), [0, 1000, 2000]);
    assert_eq!(second.requests(), ["bytes=3000-"]);
}

#[test]
fn download_next_mirror_with_other_compression_starts_anew() {
    let first = Faulty::serve(|request| {
        let rest = &gz(&content(), 0)[request.range_start..];
        Answer::range(request.range_start, 300_000).announces(rest.len()).sends(&rest[..1000])
    });
    let second = Correct::serve(NAME, published());
    let dir = folder();
    download(&[&first.url(), &second.url()], dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
    assert_eq!(second.requests(), ["bytes=3000-", "bytes=none"]);
}

#[test]
fn download_each_failure_is_listed_and_leaves_no_file() {
    let wrong = Faulty::serve(|_| Answer::whole(b"<html>Sign in to the hotel's network</html>"));
    let short = Faulty::serve(|_| Answer::whole(&published()[..200_000]));
    let endless = Faulty::serve(|_| Answer::whole(&vec![7; 400_000]));
    let unannounced = Faulty::serve(|_| Answer::without_length(&vec![7; 400_000]));
    let elsewhere = Faulty::serve(|_| Answer::range(77, 1000).announces(3).sends(b"abc"));
    let silent = Faulty::serve(|_| Answer::nothing());
    let missing = Correct::serve("something else", vec![]);
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let table = [
        (wrong.url(), "the content has 43 bytes, expected 300000", 1),
        (short.url(), "cannot gunzip after ", 1),
        (endless.url(), "sends 400000 bytes or more, expected at most 304396", 1),
        (unannounced.url(), "bytes or more, expected at most 304396", 1),
        (elsewhere.url(), "another range than the requested one", 3),
        (silent.url(), "", 3),
        (missing.url(), "HTTP status 404 Not Found", 1),
        (closed, "", 1),
        ("ftp://127.0.0.1/".into(), "", 1),
    ];
    for (url, expected, attempts) in &table {
        let dir = folder();
        let error = download(&[url], dir.path()).unwrap_err();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines[0], "cannot download digits.gz:");
        assert_eq!(lines.len(), 2 + attempts, "one line per attempt: {error}");
        assert!(lines[1].starts_with(&format!("  {url}{NAME}: ")) && lines[1].contains(expected), "{error}");
        assert!(error.ends_with(&format!("copy the file to {}", dir.path().join(NAME).display())), "{error}");
        assert!(!error.contains("delete it"), "the download is already deleted: {error}");
        assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
    }
    // A good mirror after all of these is still used.
    let good = Correct::serve(NAME, published()).url();
    let mirrors: Vec<&str> = table.iter().map(|(url, ..)| &**url).chain([&*good]).collect();
    let dir = folder();
    download(&mirrors, dir.path()).unwrap();
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
}

#[test]
fn download_other_range_than_requested_is_not_written() {
    let server = Faulty::serve(|request| match request.range_start {
        0 => Answer::whole(&published()),
        _ => Answer::range(5, 1000).announces(3).sends(b"abc"),
    });
    let dir = folder();
    fs::write(dir.path().join("digits.gz.part"), &published()[..1000]).unwrap();
    download(&[&server.url()], dir.path()).unwrap();
    assert_eq!(server.range_starts(), [1000, 0]);
    assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), published());
}

#[test]
fn download_content_that_server_uncompressed_is_accepted() {
    let server = Faulty::serve(|_| Answer::whole(&content()));
    let dir = folder();
    download(&[&server.url()], dir.path()).unwrap();
    download(&[], dir.path()).unwrap();
}

#[test]
fn download_url_with_and_without_digest_writes_file() {
    let server = Correct::serve("a.txt", b"abc".to_vec());
    let url = format!("{}a.txt", server.url());
    let dir = folder();
    let path = dir.path().join("b.txt");
    let fetch = |sha256| download_url(&url, &path, sha256, &mut |_| {}).map_err(|e| e.to_string());
    fetch(None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    fetch(None).unwrap();
    assert_eq!(server.requests().len(), 2);

    let digest = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
    fetch(Some(digest)).unwrap();
    assert_eq!(server.requests().len(), 2, "a file with the digest is not downloaded again");
    fs::write(&path, "stale").unwrap();
    fetch(Some(digest)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"abc");

    fs::write(&path, "mine").unwrap();
    let error = fetch(Some("00")).unwrap_err();
    assert!(error.contains("SHA-256 is ba7816bf") && error.contains("expected 00"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(names(dir.path()), ["b.txt"]);
}
