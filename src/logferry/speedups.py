"""The compiled part of logferry (_speedups.c), where it was built: by `python3 tools/build_speedups.py` in a checkout, or
by pip if a compiler was at hand.

Nothing needs it. Whatever it does is done in Python where it is missing, byte for byte the same, and slower. With
`LOGFERRY_SPEEDUPS=0` in the environment it is left out.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logferry import _speedups


def _load() -> "type[_speedups] | None":
    if os.environ.get("LOGFERRY_SPEEDUPS") == "0":
        return None
    try:
        from logferry import _speedups
    except ImportError:
        return None
    return _speedups


compiled = _load()
