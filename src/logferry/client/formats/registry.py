"""The formats by their names. A format's module is imported when the format is first asked for."""

from functools import lru_cache
from importlib import import_module
from typing import Final

from logferry.client.formats.base import Format

# Where each format is: a module beside this one, and what it is called there.
_PLACES: Final = {
    "plain": "plain:PLAIN",
    "raw": "raw:RAW",
    "json": "json_lines:JSON",
    "logfmt": "logfmt:LOGFMT",
    "python": "python_logging:PYTHON",
    "syslog": "syslog:SYSLOG",
    "nginx": "access_log:NGINX",
    "apache": "access_log:APACHE",
    "cri": "container:CRI",
    "docker": "container:DOCKER",
}

REGEX: Final = "regex:"
NAMES: Final = tuple(_PLACES)


@lru_cache(maxsize=64)
def format_named(name: str) -> Format:
    """Return the format of that name, or of `regex:<pattern>`. Raises ValueError that says what is wrong with it."""
    if name.startswith(REGEX):
        from logferry.client.formats.regex import RegexFormat

        return RegexFormat(name.removeprefix(REGEX))
    if name not in _PLACES:
        raise ValueError(f"there is no format {name!r}; there are {', '.join(NAMES)} and {REGEX}<pattern>")
    module, _, attribute = _PLACES[name].partition(":")
    found = getattr(import_module(f"logferry.client.formats.{module}"), attribute)
    assert isinstance(found, Format)
    return found
