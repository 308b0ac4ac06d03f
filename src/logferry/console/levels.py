"""The classes of levels that the page shows, and how the programs that write levels call them. Imports nothing."""

from collections.abc import Mapping
from typing import Final

LEVEL_CLASSES: Final = ("error", "warn", "info", "debug", "other")

NAMES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "error": ("error", "err", "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic", "severe"),
    "warn": ("warn", "warning"),
    "info": ("info", "notice", "information"),
    "debug": ("debug", "trace", "verbose", "fine"),
}
LEVEL_NAMES: Final = tuple(name for names in NAMES_OF.values() for name in names)
CLASS_OF: Final = {name: level for level, names in NAMES_OF.items() for name in names}
