"""Looks up formats by name. The module of a format is imported when the format is first requested.

To add a format: write a module in `formats/` that defines the format under its name in capitals, and add one line to
`FORMATS` in `model/format_names.py`. The options, their help texts and the configuration follow. For `--format auto` to
find the format, add its name to the candidates in `detect.py`, where formats that extract more from a line come first.
"""

from functools import lru_cache
from importlib import import_module
from typing import Final

from logferry.model.format_names import FORMAT_NAMES, FORMATS, REGEX_PREFIX
from logferry.rendering.engine.format import Format

_MODULES: Final = {each.name: each.module for each in FORMATS}


@lru_cache(maxsize=64)
def format_named(name: str) -> Format:
    """Return the format called `name`, which may be `regex:<pattern>`. Raises ValueError with the reason if invalid."""
    if name.startswith(REGEX_PREFIX):
        from logferry.rendering.formats.text.regex import RegexFormat

        return RegexFormat(name.removeprefix(REGEX_PREFIX))
    if name not in _MODULES:
        raise ValueError(
            f"unknown format {name!r}; the formats are {', '.join(FORMAT_NAMES)} and {REGEX_PREFIX}<pattern>"
        )
    found = getattr(import_module(f"logferry.rendering.formats.{_MODULES[name]}"), name.upper())
    assert isinstance(found, Format)
    return found
