"""A stand-in for PyTorch that locates libtorch for the build script of torch-sys.

The build script runs `python3 -c "import torch; ..."` with this folder on PYTHONPATH (see ../../config.toml), and prints the
attributes below. The work is in `_locate`.
"""

from . import _locate

_libtorch = _locate.answer()

__version__ = _libtorch.version


class _C:
    _GLIBCXX_USE_CXX11_ABI = True  # true for every libtorch since 2.7
