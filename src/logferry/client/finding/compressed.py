"""Which files are compressed, by their names and first bytes: there is nothing in them to follow.

Owns the table of suffixes and magic numbers. Must never decompress anything: client/files/gzip.py does.
"""

from typing import Final

from logferry.protocol.compressor import GZIP_MAGIC

# Compressed files of this kind can be read on where the file that they were made from was not read to its end.
READABLE_SUFFIX: Final = ".gz"

# What logrotate and similar tools make of rotated files, with the bytes that each begins with.
_MAGIC_BY_SUFFIX: Final = {
    READABLE_SUFFIX: GZIP_MAGIC,
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ\x00",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
    ".Z": b"\x1f\x9d",
}
_LONGEST_MAGIC: Final = max(map(len, _MAGIC_BY_SUFFIX.values()))


def is_compressed(path: str, *, or_unfinished: bool = False) -> bool:
    """Whether a file is compressed, by its name and by its first bytes. A file that cannot be read is not.

    With `or_unfinished` also a file that may still become one: while a compressor has only just opened its output, the
    magic number is missing, or incomplete.
    """
    if not path.endswith(tuple(_MAGIC_BY_SUFFIX)):
        return False
    try:
        with open(path, "rb") as file:
            begin = file.read(_LONGEST_MAGIC)
    except OSError:
        return False
    return any(
        path.endswith(suffix) and (begin.startswith(magic) or (or_unfinished and magic.startswith(begin)))
        for suffix, magic in _MAGIC_BY_SUFFIX.items()
    )
