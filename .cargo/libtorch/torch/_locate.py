"""Finds libtorch, or downloads it.

The order is: the folder in LIBTORCH; an installed PyTorch of the right version (with its CUDA); the copy in the user's cache.
If there is none, pip downloads libtorch from the package index into the cache.
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

VERSION = "2.13.0"  # the version that tch 0.26 needs
# In the wheels for Linux, libtorch_cpu needs these two libraries of CUDA, even without a GPU.
CUDA_EXTRAS = ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]
WHEELS_FOR_PYTHON = range(10, 15)  # 3.10 to 3.14
DOWNLOAD = "about 600 MB, once"


class Libtorch(NamedTuple):
    folder: Path  # holds lib/ and include/
    version: str


class NotFound(Exception):
    """The reason why libtorch is not found, as a sentence."""


def answer():
    """Returns `locate()`, or exits with a short message instead of a stack trace."""
    try:
        return locate()
    except NotFound as error:
        sys.exit(
            f"cannot find libtorch {VERSION}: {error} Try one of these and build again: (1) set LIBTORCH to the folder of an "
            f"unpacked libtorch {VERSION}; (2) install PyTorch for the python3 on your PATH with pip install "
            f"torch=={VERSION}; (3) make the package index reachable for pip, with pip's settings proxy and index-url."
        )


def locate():
    named = os.environ.get("LIBTORCH")
    if named:
        return from_environment(Path(named))
    return installed() or cached(cache_folder()) or fetched(cache_folder())


def from_environment(folder):
    if not (library(folder).exists() and (folder / "include").is_dir()):
        raise NotFound(f"LIBTORCH is {folder}, expected a folder with include and {library(folder).relative_to(folder)}.")
    version = version_of(folder) or VERSION
    if version.split("+")[0] != VERSION and "LIBTORCH_BYPASS_VERSION_CHECK" not in os.environ:
        raise NotFound(f"LIBTORCH is {folder}: found version {version}, expected {VERSION}.")
    return Libtorch(folder, version)


def installed():
    """Returns the PyTorch that this python3 would import without this module, if it has the right version."""
    own = Path(__file__).resolve().parents[1]
    for entry in sys.path:
        folder = Path(entry or ".").resolve()
        if folder != own and (version_of(folder / "torch") or "").split("+")[0] == VERSION:
            if library(folder / "torch").exists():
                return Libtorch(folder / "torch", VERSION)
    return None


def cached(cache):
    return Libtorch(cache / "torch", VERSION) if library(cache / "torch").exists() else None


def fetched(cache):
    """Downloads libtorch with pip. A rename at the end creates the cache, so that it is never incomplete."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with locked(cache.parent / f"{cache.name}.lock"):
            # Another build may have downloaded it while this one waited for the lock.
            found = cached(cache)
            if found:
                return found
            for leftover in cache.parent.glob(f"{cache.name}.partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            partial = Path(tempfile.mkdtemp(prefix=f"{cache.name}.partial-", dir=cache.parent))
            try:
                install(partial / "pip", cache)
                keep_libtorch(partial / "pip", partial / "done")
                shutil.rmtree(cache, ignore_errors=True)
                (partial / "done").rename(cache)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise NotFound(f"cannot store it in {cache}: {error}.") from error
    tell(f"libtorch {VERSION} is in {cache}")
    return cached(cache)


def install(target, cache):
    # Only the wheels for Linux need CUDA.
    extras = CUDA_EXTRAS if sys.platform == "linux" else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(target)]
    if sys.version_info.minor not in WHEELS_FOR_PYTHON:
        # The build does not import the package, so that the wheel for another Python version works too.
        command += ["--python-version", "3.12"]
    command += [f"torch=={VERSION}", *extras]
    tell(f"downloading libtorch {VERSION} ({DOWNLOAD}) into {cache}")
    pip = subprocess.run(command, env=without_this_module(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if pip.returncode != 0:
        lines = [line for line in pip.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise NotFound(f"pip cannot download it: {' / '.join(lines[-2:]) or 'it printed no error'}.")
    if not library(target / "torch").exists():
        raise NotFound("pip downloaded a package without libtorch.")


def keep_libtorch(installed_in, done):
    """Moves headers and libraries to `done`, without the libraries for a GPU, because the build is for the CPU."""
    torch = done / "torch"
    torch.mkdir(parents=True)
    for part in ["include", "lib", "version.py"]:
        (installed_in / "torch" / part).rename(torch / part)
    for gpu in [*torch.glob("lib/*torch_cuda*"), *torch.glob("lib/*nvshmem*"), *torch.glob("lib/*torch_python*")]:
        gpu.unlink()
    if (installed_in / "nvidia").exists():
        # libtorch_cpu loads the libraries of CUDA from this folder.
        (installed_in / "nvidia").rename(done / "nvidia")


def without_this_module():
    environment = dict(os.environ)
    own = str(Path(__file__).resolve().parents[1])
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and os.path.realpath(path) != own]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def library(folder):
    names = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}
    return folder / "lib" / names.get(sys.platform, "libtorch_cpu.so")


def version_of(folder):
    """Returns the version of a libtorch or a PyTorch from its files, or None."""
    for name, pattern in [("version.py", r"__version__ = '([^']+)'"), ("build-version", r"(\S+)")]:
        with contextlib.suppress(OSError):
            found = re.search(pattern, (folder / name).read_text())
            if found:
                return found[1]
    return None


def cache_folder():
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "text_recognizer" / f"libtorch-{VERSION}-{sys.platform}-{platform.machine().lower()}"


@contextlib.contextmanager
def locked(path):
    """Holds a lock until the process ends. Without fcntl (Windows), two builds may download twice; the rename keeps one."""
    with open(path, "w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tell(message):
    """Prints to the terminal directly, because Cargo hides standard output and standard error of a build script."""
    with contextlib.suppress(OSError):
        with open("CON" if sys.platform == "win32" else "/dev/tty", "w") as terminal:
            print(f"    {message}", file=terminal)
