//! Tests of `.cargo/libtorch`, which finds libtorch for the build. The tests run the compiler script as the build script of
//! torch-sys does.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The folder with the scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo/libtorch");

/// A fake compiler, which writes its arguments.
const COMPILER: &str = "#!/bin/sh\necho \"$(basename \"$0\") $*\"\n";

/// A fake pip. It writes its arguments to a file, and then fails, dies, or installs the files of a wheel.
const PIP: &str = "
import os, pathlib, sys
note = pathlib.Path(os.environ['PIP_NOTE'])
with open(note, 'a') as file:
    file.write(' '.join(sys.argv[1:]) + '\\n')
target = pathlib.Path(sys.argv[sys.argv.index('--target') + 1])
what = os.environ['PIP_DOES']
if what == 'fail':
    sys.exit('ERROR: no route to the index')
lib = target / 'torch' / 'lib'
lib.mkdir(parents=True)
if what == 'die':
    os.kill(os.getppid(), 9)
    sys.exit(1)
for name in ['libtorch_cpu.so', 'libc10.so', 'libtorch_cuda.so', 'libtorch_cuda_linalg.so', 'libtorch_python.so']:
    (lib / name).write_text('')
(target / 'torch' / 'include').mkdir()
(target / 'torch' / 'nn').mkdir()
(target / 'torch' / 'version.py').write_text(\"__version__ = '2.13.0+cu130'\\n\")
(target / 'nvidia' / 'cu13' / 'lib').mkdir(parents=True)
";

/// Folders that stand for the machine of a user.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir(machine.path("scripts")).unwrap();
        for name in ["c++", "locate.py", "trust.py", "requirements.txt"] {
            fs::copy(Path::new(SCRIPTS).join(name), machine.path("scripts").join(name)).unwrap();
        }
        // -S hides the packages of this machine, which may have a PyTorch.
        machine.program("bin/python3", "#!/bin/sh\nPATH=$REAL_PATH exec python3 -S \"$@\"\n");
        for name in ["c++", "of_cxx", "of_host", "of_target"] {
            machine.program(&format!("bin/{name}"), COMPILER);
        }
        machine.write("site/pip/__init__.py", "");
        machine.write("site/pip/__main__.py", PIP);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Creates the folder of a libtorch or a PyTorch of this version.
    fn libtorch(&self, name: &str, version: &str) {
        self.write(&format!("{name}/lib/libtorch_cpu.so"), "");
        fs::create_dir_all(self.path(name).join("include")).unwrap();
        self.write(&format!("{name}/version.py"), &format!("__version__ = '{version}'\n"));
    }

    fn cache(&self) -> PathBuf {
        self.path(&format!("cache/text_recognizer/libtorch-2.13.0-linux-{}", std::env::consts::ARCH))
    }

    /// Returns the command that compiles a file of torch-sys, with the variables that Cargo sets.
    fn command(&self, pip_does: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(self.path("scripts/c++"));
        command.args(["-c", "torch_api.cpp"]).env_clear();
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env("REAL_PATH", path);
        command.env("CARGO_MANIFEST_LINKS", "tch").env("TARGET", "x86_64-unknown-linux-gnu");
        command.env("LIBTORCH", self.path("scripts/found"));
        command.env("HOME", self.path("home")).env("XDG_CACHE_HOME", self.path("cache"));
        // A path of the user does not hide the scripts.
        command.env("PYTHONPATH", self.path("site"));
        command.env("PIP_NOTE", self.path("note")).env("PIP_DOES", pip_does);
        command
    }

    fn run(&self, pip_does: &str) -> Output {
        self.command(pip_does).output().unwrap()
    }

    /// Returns the arguments of each call of pip.
    fn note(&self) -> Vec<String> {
        fs::read_to_string(self.path("note")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Checks that the file was compiled with the libtorch in `folder`.
    fn assert_found(&self, output: &Output, folder: &Path) {
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "c++ -c torch_api.cpp\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(fs::read_link(self.path("scripts/found")).unwrap(), folder);
        assert!(!self.path("scripts/__pycache__").exists());
    }

    fn assert_error(&self, output: &Output, parts: &[&str]) {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && output.stdout.is_empty() && !text.contains("Traceback"),
            "{text}"
        );
        for part in
            parts.iter().chain(&["(1) set LIBTORCH", "(2) install PyTorch", "(3) make the package index"])
        {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
    }
}

/// Cargo sets the variables for the program that `cargo run` starts too, so that none of them may be Python's.
#[test]
fn config_sets_no_variable_of_python() {
    let config = fs::read_to_string(Path::new(SCRIPTS).join("../config.toml")).unwrap();
    assert!(config.contains("LIBTORCH = ") && !config.contains("PYTHON"), "{config}");
    assert!(!std::env::var("PYTHONPATH").unwrap_or_default().contains(".cargo/libtorch"));
}

#[test]
fn other_calls_of_the_compiler_search_nothing() {
    let machine = Machine::new();
    let mut of_another = machine.command("fail");
    of_another.env("CARGO_MANIFEST_LINKS", "another");
    let mut of_a_program = machine.command("fail");
    of_a_program.env_remove("CARGO_MANIFEST_LINKS");
    for command in [&mut of_another, &mut of_a_program] {
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "c++ -c torch_api.cpp\n");
    }
    assert!(!machine.path("scripts/found").is_symlink());
}

#[test]
fn compiler_of_the_user_compiles() {
    let machine = Machine::new();
    machine.libtorch("site/torch", "2.13.0");
    let mut command = machine.command("fail");
    for (name, value, expected) in [
        ("CXX", "of_cxx -O1", "of_cxx -O1 -c torch_api.cpp\n"),
        ("HOST_CXX", "of_host", "of_host -c torch_api.cpp\n"),
        ("CXX_x86_64_unknown_linux_gnu", "of_target", "of_target -c torch_api.cpp\n"),
    ] {
        let output = command.env(name, value).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[test]
fn libtorch_variable_has_priority_over_an_installed_pytorch() {
    let machine = Machine::new();
    machine.libtorch("named", "2.13.0+cpu");
    machine.libtorch("site/torch", "2.12.0");
    let output = machine.command("fail").env("LIBTORCH", machine.path("named")).output().unwrap();
    assert!(output.status.success() && !machine.path("scripts/found").is_symlink());
}

#[test]
fn link_is_made_again_if_its_libtorch_is_gone_or_of_another_version() {
    let machine = Machine::new();
    machine.libtorch("site/torch", "2.13.0");
    machine.assert_found(&machine.run("fail"), &machine.path("site/torch"));
    machine.libtorch("site/torch", "2.14.0");
    machine.assert_found(&machine.run("fetch"), &machine.cache().join("torch"));
    fs::remove_dir_all(machine.cache()).unwrap();
    machine.assert_found(&machine.run("fetch"), &machine.cache().join("torch"));
}

#[test]
fn cache_that_others_can_write_to_is_not_used() {
    let machine = Machine::new();
    machine.assert_found(&machine.run("fetch"), &machine.cache().join("torch"));
    let parent = machine.cache().parent().unwrap().to_owned();
    let library = machine.cache().join("torch/lib/libtorch_cpu.so");
    for (path, name) in
        [(parent, "text_recognizer"), (machine.cache(), "libtorch-2.13.0"), (library, "libtorch_cpu.so")]
    {
        let private = path.metadata().unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        machine.assert_error(
            &machine.run("fetch"),
            &["other users can write to ", name, "mode 777", "XDG_CACHE_HOME"],
        );
        // Also without the link.
        fs::remove_file(machine.path("scripts/found")).unwrap();
        machine.assert_error(&machine.run("fetch"), &["other users can write to "]);
        fs::set_permissions(&path, private).unwrap();
        machine.assert_found(&machine.run("fail"), &machine.cache().join("torch"));
    }
    assert_eq!(machine.note().len(), 1);
}

#[test]
fn each_package_of_the_download_is_pinned_by_digest() {
    let text = fs::read_to_string(Path::new(SCRIPTS).join("requirements.txt")).unwrap();
    let packages = text.lines().filter(|line| line.contains("==")).count();
    let digests = text.lines().filter(|line| line.trim_start().starts_with("--hash=sha256:")).count();
    assert_eq!((packages, digests), (3, 7));
}

#[test]
fn libtorch_variable_without_libtorch_or_with_another_version_is_an_error() {
    let machine = Machine::new();
    let output = machine.command("fail").env("LIBTORCH", machine.path("nothing")).output().unwrap();
    machine.assert_error(&output, &["nothing", "lib/libtorch_cpu.so"]);
    machine.libtorch("old", "2.12.1");
    let output = machine.command("fail").env("LIBTORCH", machine.path("old")).output().unwrap();
    machine.assert_error(&output, &["version 2.12.1"]);
    let mut command = machine.command("fail");
    let bypassed = command
        .env("LIBTORCH", machine.path("old"))
        .env("LIBTORCH_BYPASS_VERSION_CHECK", "1")
        .output()
        .unwrap();
    assert!(bypassed.status.success());
}

#[test]
fn installed_pytorch_is_used_only_if_it_has_the_version() {
    let machine = Machine::new();
    machine.libtorch("site/torch", "2.13.0+cu130");
    machine.assert_found(&machine.run("fail"), &machine.path("site/torch"));
    machine.libtorch("site/torch", "2.12.0");
    machine.libtorch(&format!("{}/torch", machine.cache().display()), "2.13.0");
    machine.assert_found(&machine.run("fail"), &machine.cache().join("torch"));
    assert!(machine.note().is_empty());
}

#[test]
fn missing_libtorch_is_downloaded_once_without_gpu_libraries() {
    let machine = Machine::new();
    for _ in 0..2 {
        machine.assert_found(&machine.run("fetch"), &machine.cache().join("torch"));
    }
    let note = machine.note();
    assert_eq!(note.len(), 1, "{note:?}");
    for part in ["install", "--no-deps", "--require-hashes", "--python-version 3.12", "requirements.txt"] {
        assert!(note[0].contains(part), "no {part:?} in {note:?}");
    }
    let names = |folder: &str| {
        let entries = fs::read_dir(machine.cache().join(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("torch"), ["include", "lib", "version.py"]);
    assert_eq!(names("torch/lib"), ["libc10.so", "libtorch_cpu.so"]);
    assert_eq!(names(""), ["nvidia", "torch"]);
}

#[test]
fn failed_download_is_an_error_and_leaves_no_files() {
    let machine = Machine::new();
    machine.assert_error(&machine.run("fail"), &["no route to the index"]);
    let left = fs::read_dir(machine.path("cache/text_recognizer")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| name.ends_with(".lock")), "{left:?}");
    machine.write("file", "");
    let output = machine.command("fetch").env("XDG_CACHE_HOME", machine.path("file")).output().unwrap();
    machine.assert_error(&output, &["cannot store it"]);
}

#[test]
fn interrupted_download_is_not_used_and_is_removed_later() {
    let machine = Machine::new();
    assert!(!machine.run("die").status.success());
    assert!(!machine.cache().exists());
    let partial = || {
        let entries = fs::read_dir(machine.path("cache/text_recognizer")).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().contains(".partial-")).count()
    };
    assert_eq!(partial(), 1);
    machine.assert_found(&machine.run("fetch"), &machine.cache().join("torch"));
    assert_eq!(partial(), 0);
}

#[test]
fn three_builds_at_once_download_once() {
    let machine = Machine::new();
    let start = || {
        let mut command = machine.command("fetch");
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    for child in [start(), start(), start()] {
        machine.assert_found(&child.wait_with_output().unwrap(), &machine.cache().join("torch"));
    }
    assert_eq!(machine.note().len(), 1);
}
