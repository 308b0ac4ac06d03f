"""Recognises compressed files, which cannot be followed, by their names and first bytes.

Owns the table of suffixes and magic numbers. Must never decompress anything: client/files/gzip.py does.
"""

from typing import Final

from logferry.protocol.compressor import GZIP_MAGIC

# The client can continue in an archive of this kind if the original file was not read to its end.
READABLE_SUFFIX: Final = ".gz"

# The suffixes that logrotate and similar tools give to compressed files, with the first bytes of each format.
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
    """Whether a file is compressed, judging by its name and first bytes. A file that cannot be read is not.

    `or_unfinished` also accepts a file that may become compressed: a compressor that has just opened its output has not
    written the whole magic number yet.
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
