"""Describes the machine: enough to judge the figures, nothing that identifies its owner."""

import os
import platform
import re
from pathlib import Path


def describe_machine(folder: Path) -> str:
    """Return one line on the processors, the memory, the file system of `folder`, and the Python in use."""
    processors = f"{os.cpu_count()} x {_processor()}"
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"
    kernel = platform.release().split("-")[0]
    return f"{processors}, {memory}, {_file_system(folder)}, Linux {kernel}, Python {platform.python_version()}"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    facts = dict(re.findall(r"^(model name|cpu MHz)\s*: (.+)$", text, re.MULTILINE))
    name = facts.get("model name", platform.machine())
    return f"{name} at {float(facts['cpu MHz']) / 1000:.1f} GHz" if "cpu MHz" in facts and "@" not in name else name


def _file_system(folder: Path) -> str:
    """Return the type of the file system that `folder` is on."""
    resolved = folder.resolve()
    mounts = (line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines())
    found = [(len(mount[1]), mount[2]) for mount in mounts if resolved.is_relative_to(mount[1])]
    return max(found)[1] if found else "unknown file system"
