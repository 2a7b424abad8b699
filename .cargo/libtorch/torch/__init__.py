"""Not PyTorch: the answer to torch-sys' question where libtorch is.

torch-sys' build script runs `python3 -c "import torch; ..."` with this folder on PYTHONPATH (see ../config.toml) and prints
the few attributes below. Everything is in `_locate`.
"""

from . import _locate

_libtorch = _locate.answer()

__version__ = _libtorch.version


class _C:
    _GLIBCXX_USE_CXX11_ABI = True  # of every libtorch since 2.7
