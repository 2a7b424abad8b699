//! Tests of the errors of the disk: folders that cannot be written to, and no space.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, assert_error, files, resume, text};

#[test]
fn log_dir_below_a_file_is_an_error() {
    let lab = Lab::new();
    let file = lab.path("file");
    fs::write(&file, "").unwrap();
    let under = file.join("logs");
    let under = under.to_str().unwrap();
    assert_error(
        "below a file",
        &lab.small(&["--log_dir", under]).output().unwrap(),
        1,
        &["cannot create a folder for the run in", under, "try another --log_dir"],
    );
}

/// Skipped if the user may write to read-only folders, like root.
#[cfg(unix)]
#[test]
fn log_dir_that_is_read_only_is_an_error() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    fs::create_dir(lab.logs()).unwrap();
    fs::set_permissions(lab.logs(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(lab.logs().join("probe"), "").is_ok() {
        return crate::skips::skip("this user may write to read-only folders");
    }
    assert_error("read-only", &lab.small(&[]).output().unwrap(), 1, &["Permission denied", "--log_dir"]);
    fs::set_permissions(lab.logs(), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A limit of 50 KB per file stands for a full disk; the weights have 100 KB.
#[cfg(target_os = "linux")]
#[test]
fn save_beyond_the_file_size_limit_is_an_error_and_leaves_no_partial_file() {
    let lab = Lab::new();
    let small = lab.small(&[]);
    let mut limited = Command::new("bash");
    // The trap ignores SIGXFSZ, which would end the process. The write then fails with an error, like on a full disk.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 50; exec \"$0\" \"$@\""]).arg(small.get_program());
    limited.args(small.get_args()).current_dir(small.get_current_dir().unwrap());
    let output = limited.output().unwrap();
    assert_error("limited files", &output, 1, &["cannot write", "best.safetensors", "File too large"]);
    assert_eq!(files(&lab.logs().join("mlp-mnist/version_0/checkpoints")), [""; 0], "no partial file");
}

/// Uses a small file system in memory. Skipped if this user may not mount one.
#[cfg(target_os = "linux")]
#[test]
fn save_on_a_full_disk_is_an_error_and_keeps_the_last_checkpoint() {
    let lab = Lab::new();
    fs::create_dir(lab.logs()).unwrap();
    let mount = |program: &str, args: &[&str]| {
        Command::new(program).args(args).arg(lab.logs()).output().is_ok_and(|output| output.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]) {
        return crate::skips::skip("this user may not mount a file system");
    }
    let first = lab.small(&["--json"]).output().unwrap();
    let folder = lab.logs().join("mlp-mnist/version_0");
    let good = fs::read(folder.join("checkpoints/last.safetensors"));
    // The file fills the disk, so that the next checkpoint does not fit.
    let filler = vec![0; 1 << 20];
    let _ = fs::write(lab.logs().join("filler"), &filler);
    let full = resume(&folder, &["--max_epochs", "3"]).output().unwrap();
    let (checkpoints, after) =
        (files(&folder.join("checkpoints")), fs::read(folder.join("checkpoints/last.safetensors")));
    let unmounted = mount("umount", &[]);
    assert!(unmounted, "cannot unmount the disk");
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert_error("full disk", &full, 1, &["No space left on device"]);
    assert_eq!(checkpoints, ["best.safetensors", "last.safetensors", "last.state-40.safetensors"]);
    assert!(good.unwrap() == after.unwrap(), "the earlier checkpoint is complete");
}

#[cfg(target_os = "linux")]
#[test]
fn results_to_a_full_standard_output_are_an_error() {
    let lab = Lab::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = lab.small(&[]).stdout(full).output().unwrap();
    assert_error("/dev/full", &output, 1, &["standard output", "No space left on device"]);
}
