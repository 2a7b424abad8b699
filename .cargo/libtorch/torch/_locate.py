"""Finds libtorch, or fetches it.

In this order: what LIBTORCH names, an installed PyTorch of the right version (with its CUDA), the copy in the user's cache,
and only then the package index, from which pip fetches the copy for the cache.
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

VERSION = "2.13.0"  # what tch 0.26 is written for
# The wheels of these platforms link libtorch_cpu against the first two libraries of CUDA, on machines without a GPU too.
CUDA_EXTRAS = ["nvidia-cuda-runtime==13.0.*", "nvidia-cuda-cupti==13.0.*"]
WHEELS_FOR_PYTHON = range(10, 15)  # 3.10 to 3.14
DOWNLOAD = "about 600 MB, once"


class Libtorch(NamedTuple):
    folder: Path  # holds lib/ and include/
    version: str


class NotFound(Exception):
    """There is no libtorch, and this is why."""


def answer():
    """As `locate`, for a build script: a refusal is a short message and not a stack trace."""
    try:
        return locate()
    except NotFound as error:
        sys.exit(
            f"libtorch {VERSION}: {error} -- You can (1) set LIBTORCH to the folder of an unpacked libtorch {VERSION}, "
            f"(2) install PyTorch for the python3 on your PATH: pip install torch=={VERSION}, or (3) make the package index "
            "reachable to pip (pip's own settings: proxy, index-url) and build again."
        )


def locate():
    named = os.environ.get("LIBTORCH")
    if named:
        return from_environment(Path(named))
    return installed() or cached(cache_folder()) or fetched(cache_folder())


def from_environment(folder):
    if not (library(folder).exists() and (folder / "include").is_dir()):
        raise NotFound(f"LIBTORCH is {folder}, where there is no {library(folder).relative_to(folder)} beside include.")
    version = version_of(folder) or VERSION
    if version.split("+")[0] != VERSION and "LIBTORCH_BYPASS_VERSION_CHECK" not in os.environ:
        raise NotFound(f"LIBTORCH is {folder}, which holds version {version}.")
    return Libtorch(folder, version)


def installed():
    """PyTorch as this python3 would import it, were this module not in its place."""
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
    """Has pip fetch libtorch. The cache appears whole, by a rename, or not at all."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with locked(cache.parent / f"{cache.name}.lock"):
            # Another build may have fetched it while this one waited.
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
        raise NotFound(f"it could not be stored in {cache}: {error}.") from error
    tell(f"libtorch {VERSION} is in {cache}")
    return cached(cache)


def install(target, cache):
    # Wheels on Linux alone are built with CUDA.
    extras = CUDA_EXTRAS if sys.platform == "linux" else []
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(target)]
    if sys.version_info.minor not in WHEELS_FOR_PYTHON:
        # Nothing of it is ever imported, so the wheel for another python serves as well.
        command += ["--python-version", "3.12"]
    command += [f"torch=={VERSION}", *extras]
    tell(f"fetching libtorch {VERSION} ({DOWNLOAD}) into {cache}")
    pip = subprocess.run(command, env=without_this_module(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if pip.returncode != 0:
        lines = [line for line in pip.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise NotFound(f"pip could not fetch it: {' / '.join(lines[-2:]) or 'it said nothing'}.")
    if not library(target / "torch").exists():
        raise NotFound("pip fetched a package without libtorch in it.")


def keep_libtorch(installed_in, done):
    """Keeps what is linked, loaded or included, without the parts for a GPU: no driver was asked for."""
    torch = done / "torch"
    torch.mkdir(parents=True)
    for part in ["include", "lib", "version.py"]:
        (installed_in / "torch" / part).rename(torch / part)
    for gpu in [*torch.glob("lib/*torch_cuda*"), *torch.glob("lib/*nvshmem*"), *torch.glob("lib/*torch_python*")]:
        gpu.unlink()
    if (installed_in / "nvidia").exists():
        # libtorch_cpu looks for CUDA's libraries at this place beside it.
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
    """The version that a libtorch or a PyTorch says it is, if it says so."""
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
    """Holds a lock that dies with the process. Without fcntl (Windows) builds may fetch twice; the rename still decides."""
    with open(path, "w") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tell(message):
    """Speaks to the terminal: the build script keeps standard output and error to itself."""
    with contextlib.suppress(OSError):
        with open("CON" if sys.platform == "win32" else "/dev/tty", "w") as terminal:
            print(f"    {message}", file=terminal)
