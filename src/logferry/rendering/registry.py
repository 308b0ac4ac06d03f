"""Looks up formats by name. The module of a format is imported when the format is first requested.

To add a format: write a module in `formats/` that defines the format under its name in capitals, and add one line to
`FORMATS` in `model/format_names.py`, which also says when `--format auto` considers it. The options, their help texts
and the configuration follow. `Format.is_typical` says which lines `auto` takes for those of the format.

To change a format that was released: copy its module, enter the copy in `earlier`, and change the original.
`tests/rendering/rules/` has what each version must go on writing.
"""

from functools import lru_cache, partial
from importlib import import_module
from typing import Any, Final

from logferry.model.format_names import (
    CURRENT_RULES,
    FORMAT_NAMES,
    FORMATS,
    HEADER_PREFIX,
    NESTED_FORMATS,
    REGEX_PREFIX,
    parts_of,
)
from logferry.rendering.engine.format import Format

_FORMATS: Final = {each.name: each for each in FORMATS}


@lru_cache(maxsize=64)
def format_named(name: str, rules: int = CURRENT_RULES) -> Format:
    """Return the format called `name`, which may be `regex:<pattern>` or `cri+json`, as it reads lines by `rules`.

    Raises ValueError with the reason if invalid.
    """
    if rules > CURRENT_RULES:
        raise ValueError(f"rules {rules} are those of a later version of logferry; this one knows {CURRENT_RULES}")
    if name.startswith(REGEX_PREFIX):
        from logferry.rendering.formats.text.regex import RegexFormat

        return RegexFormat(name.removeprefix(REGEX_PREFIX))
    if name.startswith(HEADER_PREFIX):
        from logferry.rendering.formats.access.iis import iis_format

        return iis_format(name.removeprefix(HEADER_PREFIX))
    outer, inner = parts_of(name)
    if name in NESTED_FORMATS or (outer and inner.startswith(REGEX_PREFIX)):
        from logferry.rendering.formats.containers.nested import NestedFormat

        runtime: Any = format_named(outer, rules)  # a `Runtime`, as all of RUNTIME_FORMATS are
        return NestedFormat(runtime, _inner_format(inner, rules))
    if name not in _FORMATS:
        raise ValueError(
            f"unknown format {name!r}; the formats are {', '.join(FORMAT_NAMES)}, cri+<format>, docker+<format> "
            f"and {REGEX_PREFIX}<pattern>"
        )
    module = import_module(f"logferry.rendering.formats.{_FORMATS[name].module_by(rules)}")
    found = getattr(module, name.upper())
    assert isinstance(found, Format)
    return found


def _inner_format(name: str, rules: int) -> Format:
    if name != "auto":
        return format_named(name, rules)
    from logferry.rendering.formats.containers.any_format import AnyFormat

    return AnyFormat(partial(format_named, rules=rules))
