"""The compiled accelerator (`logferry._speedups`) and the extra isal: builds, finds and disables them."""

import importlib.util
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.ends import PYTHON, ROOT

# A program with this environment uses only the Python code.
PURE: Final[Mapping[str, str]] = {"LOGFERRY_SPEEDUPS": "0"}

NO_ISAL: Final = "gzip-isal: no isal where the benchmark runs (pip install isal)"

_BUILD_LIMIT_S: Final = 120.0


def build_accelerator() -> str | None:
    """Build the accelerator in place, if this source tree has one; return the reason if that fails."""
    script = ROOT / "tools" / "build_speedups.py"
    if not script.exists():
        return None
    try:
        words = [PYTHON, str(script)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"tools/build_speedups.py takes more than {_BUILD_LIMIT_S:g} s"
    return (done.stderr or done.stdout).strip() or "no reason given" if done.returncode else None


def has_accelerator() -> bool:
    """Whether the measured programs find the accelerator."""
    look = "import sys; sys.path.insert(0, sys.argv[1]); import logferry._speedups"
    words = [PYTHON, "-c", look, str(ROOT / "src")]
    environment = {name: value for name, value in os.environ.items() if name not in PURE}
    done = subprocess.run(words, env=environment, capture_output=True, timeout=_BUILD_LIMIT_S, check=False)
    return not done.returncode


def with_isal() -> Mapping[str, str] | None:
    """Return an environment in which a program finds the benchmark's own isal; None if the benchmark has none."""
    found = importlib.util.find_spec("isal")
    return {"PYTHONPATH": str(Path(found.origin).parent.parent)} if found and found.origin else None
