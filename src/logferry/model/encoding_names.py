"""The names of the encodings of text that a log file may have.

This is the only list of them: the option, its help text, render specs and `rendering/encodings.py` derive from it.
"""

from typing import Final

UTF_8: Final = "utf-8"
UTF_16: Final = "utf-16"  # of either byte order: only for `--encoding`, a range has one of the next two
UTF_16_LE: Final = "utf-16-le"
UTF_16_BE: Final = "utf-16-be"
LATIN_1: Final = "latin-1"
CP1252: Final = "cp1252"

# What `--encoding` knows, by the names that Python's codecs have.
ENCODING_NAMES: Final = (UTF_8, UTF_16, UTF_16_LE, UTF_16_BE, LATIN_1, CP1252)

# What a range of a source may have.
RANGE_ENCODINGS: Final = tuple(name for name in ENCODING_NAMES if name != UTF_16)

# Other names of the same, as `_plain` writes them.
_ALIASES: Final = {
    UTF_8: ("utf8", "u8"),
    UTF_16: ("utf16", "u16"),
    UTF_16_LE: ("utf16le",),
    UTF_16_BE: ("utf16be",),
    LATIN_1: ("latin1", "latin", "l1", "iso88591", "88591", "cp819"),
    CP1252: ("cp1252", "windows1252", "1252"),
}


def encoding_name(text: str) -> str | None:
    """Return the name of the encoding that `text` is a name of; None if it is not known."""
    plain = text.lower().translate({ord(mark): None for mark in "-_ "})
    return next((name for name, aliases in _ALIASES.items() if plain in aliases), None)
