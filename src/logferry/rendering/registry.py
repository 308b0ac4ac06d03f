"""The formats by their names. A format's module is imported when the format is first asked for."""

from functools import lru_cache
from importlib import import_module
from typing import Final

from logferry.rendering.engine.base import Format

# Where each format is: a module in formats/, and what it is called there.
_PLACES: Final = {
    "plain": "text.plain:PLAIN",
    "raw": "text.raw:RAW",
    "json": "json.json_lines:JSON",
    "logfmt": "text.logfmt:LOGFMT",
    "python": "text.python_logging:PYTHON",
    "syslog": "text.syslog:SYSLOG",
    "nginx": "access.access_log:NGINX",
    "apache": "access.access_log:APACHE",
    "cri": "containers.container:CRI",
    "docker": "containers.container:DOCKER",
}

REGEX: Final = "regex:"
NAMES: Final = tuple(_PLACES)


@lru_cache(maxsize=64)
def format_named(name: str) -> Format:
    """Return the format of that name, or of `regex:<pattern>`. Raises ValueError that says what is wrong with it."""
    if name.startswith(REGEX):
        from logferry.rendering.formats.text.regex import RegexFormat

        return RegexFormat(name.removeprefix(REGEX))
    if name not in _PLACES:
        raise ValueError(f"there is no format {name!r}; there are {', '.join(NAMES)} and {REGEX}<pattern>")
    module, _, attribute = _PLACES[name].partition(":")
    found = getattr(import_module(f"logferry.rendering.formats.{module}"), attribute)
    assert isinstance(found, Format)
    return found
