r"""File names as text: on the wire, in records, in the server's folders and in JSON for scripts.

A file name is bytes. A name that is UTF-8 is that text, unchanged, whatever the locale of the process. A byte that is
not UTF-8 becomes `\x` and two hexadecimal digits: the name b"caf\xe9.log" is the text `caf\xe9.log`. Backslashes are
doubled only where the text would otherwise look like such a byte, so no two names have the same text.

Owns this escape; docs/protocol.md, rule N1, defines it. Never opens or shows a name: `printable` makes text safe to
show.
"""

import contextlib
import os
import re
from typing import Final

# Bytes that are not UTF-8 as Python decodes them, and backslashes that need doubling.
_BYTE: Final = re.compile("[\udc80-\udcff]")
_AMBIGUOUS_BACKSLASHES: Final = re.compile(r"\\+(?=x[89a-f][0-9a-f]|[\udc80-\udcff])")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def are_utf_8(encoding: str) -> bool:
    """Whether the names of an encoding, as Python names it, are UTF-8."""
    return encoding.lower().replace("-", "") == "utf8"


def text_of_name(name: str) -> str:
    """Return the text of a file name, given as Python returns names. Different names have different texts."""
    if name.isascii() and "\\" not in name:
        return name
    with contextlib.suppress(UnicodeEncodeError):  # it does not come from this machine's file system
        name = os.fsencode(name).decode("utf-8", "surrogateescape")
    return _escaped(name)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: `text` itself, unless it holds bytes that are not UTF-8."""
    return _escaped(text) if _SURROGATE.search(text) else text


def _escaped(text: str) -> str:
    text = _AMBIGUOUS_BACKSLASHES.sub(lambda match: 2 * match[0], text)
    text = _BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text)
    return text.encode(errors="backslashreplace").decode()  # half a character, which no name has
