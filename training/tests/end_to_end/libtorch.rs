//! Tests of `.cargo/libtorch/torch`, which finds libtorch for the build. The tests run it like the build script of torch-sys.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The script of torch-sys' build script.
const SCRIPT: &str = "
import torch
from torch.utils import cpp_extension
print('LIBTORCH_VERSION:', torch.__version__.split('+')[0])
print('LIBTORCH_CXX11:', torch._C._GLIBCXX_USE_CXX11_ABI)
for include_path in cpp_extension.include_paths():
  print('LIBTORCH_INCLUDE:', include_path)
for library_path in cpp_extension.library_paths():
  print('LIBTORCH_LIB:', library_path)
";

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

    /// Creates the folder of a libtorch or a PyTorch of this version.
    fn libtorch(&self, name: &str, version: &str) {
        self.write(&format!("{name}/lib/libtorch_cpu.so"), "");
        fs::create_dir_all(self.path(name).join("include")).unwrap();
        self.write(&format!("{name}/version.py"), &format!("__version__ = '{version}'\n"));
    }

    fn cache(&self) -> PathBuf {
        self.path(&format!("cache/text_recognizer/libtorch-2.13.0-linux-{}", std::env::consts::ARCH))
    }

    fn command(&self, pip_does: &str) -> Command {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cargo/libtorch");
        let paths = std::env::join_paths([module, self.path("site")]).unwrap();
        let mut command = Command::new("python3");
        // -S hides the packages of this machine, which may have a PyTorch.
        command
            .args(["-S", "-c", SCRIPT])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PYTHONPATH", paths);
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

    fn assert_found(&self, output: &Output, folder: &Path) {
        let text = String::from_utf8_lossy(&output.stdout);
        let expected = format!(
            "LIBTORCH_VERSION: 2.13.0\nLIBTORCH_CXX11: True\nLIBTORCH_INCLUDE: {0}/include\n\
             LIBTORCH_INCLUDE: {0}/include/torch/csrc/api/include\nLIBTORCH_LIB: {0}/lib\n",
            folder.display()
        );
        assert_eq!(text, expected, "{}", String::from_utf8_lossy(&output.stderr));
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

#[test]
fn libtorch_variable_has_priority_over_an_installed_pytorch() {
    let machine = Machine::new();
    machine.libtorch("named", "2.13.0+cpu");
    machine.libtorch("site/torch", "2.13.0");
    let named = machine.path("named");
    let output = machine.command("fail").env("LIBTORCH", &named).output().unwrap();
    machine.assert_found(&output, &named);
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
    for part in
        ["install", "--no-deps", "torch==2.13.0", "nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]
    {
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
