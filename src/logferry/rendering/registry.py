"""The formats by their names; the module of a format is imported when the format is first asked for.

To add a format: write a module in `formats/` that has the format under its name in capitals, and add one line to
`FORMATS` in `model/format_names.py`. The options, their help texts and the configuration follow. For `--format auto` to
find the format, add its name to the candidates in `detect.py`, where formats that say more of a line come first.
"""

from functools import lru_cache
from importlib import import_module
from typing import Final

from logferry.model.format_names import FORMAT_NAMES, FORMATS, REGEX_PREFIX
from logferry.rendering.engine.format import Format

_MODULES: Final = {each.name: each.module for each in FORMATS}


@lru_cache(maxsize=64)
def format_named(name: str) -> Format:
    """Return the format of that name, or of `regex:<pattern>`. Raises ValueError that says what is wrong with it."""
    if name.startswith(REGEX_PREFIX):
        from logferry.rendering.formats.text.regex import RegexFormat

        return RegexFormat(name.removeprefix(REGEX_PREFIX))
    if name not in _MODULES:
        raise ValueError(
            f"there is no format {name!r}; there are {', '.join(FORMAT_NAMES)} and {REGEX_PREFIX}<pattern>"
        )
    found = getattr(import_module(f"logferry.rendering.formats.{_MODULES[name]}"), name.upper())
    assert isinstance(found, Format)
    return found
