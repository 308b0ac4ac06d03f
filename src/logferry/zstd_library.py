"""Finds the library for Zstandard: the one of Python 3.14, or `backports.zstd`, which is the same code for older ones.

Both have the interface of the standard library's other decoders, and release Python's lock while they work. Never
imports anything before it is asked for.
"""

import importlib
import sys
from types import ModuleType
from typing import Final

MODULE: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
REMEDY: Final = "pip install 'logferry[zstd]'" if sys.version_info < (3, 14) else "install a Python that has it"


def zstd_library() -> ModuleType | None:
    """Return the library; None if this Python has none."""
    try:
        return importlib.import_module(MODULE)
    except ImportError:
        return None
