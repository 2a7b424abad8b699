"""Finds libtorch, or downloads it, for the build script of torch-sys.

The order is: the folder in LIBTORCH; an installed PyTorch of the right version (with its CUDA); the copy in the user's cache.
If there is none, pip downloads the packages of requirements.txt from the package index into the cache, and checks their digests.

Cargo sets LIBTORCH to `found` beside this file, unless the user sets it. That is a link to the libtorch that was found.
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

import trust

LINK = Path(__file__).absolute().parent / "found"
REQUIREMENTS = Path(__file__).absolute().parent / "requirements.txt"
VERSION = "2.13.0"  # the version that tch 0.26 needs
WHEELS_FOR = "3.12"  # the version of Python of the digests in requirements.txt
DOWNLOAD = "about 600 MB, once"


class Libtorch(NamedTuple):
    folder: Path  # holds lib/ and include/
    version: str


class NotFound(Exception):
    """The reason why libtorch is not found, as a sentence."""


def main():
    """Makes LINK a link to libtorch, or exits with a short message instead of a stack trace."""
    try:
        named = os.environ.get("LIBTORCH")
        if named and Path(named).absolute() != LINK:
            from_environment(Path(named))
        elif is_usable(LINK):
            if LINK.resolve().is_relative_to(cache_folder().resolve()):
                check_trust(cache_folder())
        else:
            link((installed() or cached(cache_folder()) or fetched(cache_folder())).folder)
    except NotFound as error:
        sys.exit(
            f"cannot find libtorch {VERSION}: {error} Try one of these and build again: (1) set LIBTORCH to the folder of an "
            f"unpacked libtorch {VERSION}; (2) install PyTorch for the python3 on your PATH with pip install "
            f"torch=={VERSION}; (3) make the package index reachable for pip, with pip's settings proxy and index-url."
        )


def is_usable(folder):
    return library(folder).exists() and (version_of(folder) or "").split("+")[0] == VERSION


def link(folder):
    """Replaces LINK atomically: several builds may run at once."""
    try:
        with tempfile.TemporaryDirectory(prefix="link-", dir=LINK.parent) as place:
            (Path(place) / "found").symlink_to(folder)
            (Path(place) / "found").replace(LINK)
    except OSError as error:
        raise NotFound(f"cannot link {LINK} to {folder}: {error}.") from error


def from_environment(folder):
    if not (library(folder).exists() and (folder / "include").is_dir()):
        raise NotFound(f"LIBTORCH is {folder}, expected a folder with include and {library(folder).relative_to(folder)}.")
    version = version_of(folder) or VERSION
    if version.split("+")[0] != VERSION and "LIBTORCH_BYPASS_VERSION_CHECK" not in os.environ:
        raise NotFound(f"LIBTORCH is {folder}: found version {version}, expected {VERSION}.")
    return Libtorch(folder, version)


def installed():
    """Returns the PyTorch that this python3 would import, if it has the right version."""
    for entry in sys.path:
        folder = Path(entry or ".").resolve() / "torch"
        if is_usable(folder):
            return Libtorch(folder, VERSION)
    return None


def cached(cache):
    if not library(cache / "torch").exists():
        return None
    check_trust(cache)
    return Libtorch(cache / "torch", VERSION)


def check_trust(cache):
    reason = trust.danger_in(cache)
    if reason:
        raise NotFound(f"{reason}, expected a cache that only you can change; delete it, or set XDG_CACHE_HOME.")


def fetched(cache):
    """Downloads libtorch with pip. A rename at the end creates the cache, so that it is never incomplete."""
    try:
        os.umask(0o077)
        cache.parent.mkdir(parents=True, exist_ok=True)
        check_trust(cache)
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
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(target)]
    command += ["--python-version", WHEELS_FOR, "--require-hashes", "-r", str(REQUIREMENTS)]
    tell(f"downloading libtorch {VERSION} ({DOWNLOAD}) into {cache}")
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
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


if __name__ == "__main__":
    main()
