"""The paths of headers and libraries for the build script of torch-sys."""

from torch import _libtorch


def include_paths():
    include = _libtorch.folder / "include"
    return [str(include), str(include / "torch" / "csrc" / "api" / "include")]


def library_paths():
    return [str(_libtorch.folder / "lib")]
