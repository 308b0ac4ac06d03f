"""Recognises compressed files, which cannot be followed, by their names and first bytes.

Owns the table of suffixes and magic numbers. Must never decompress anything: client/files/archives/archive.py does.
"""

from typing import Final

from logferry.client.finding.foreign_links import open_file
from logferry.protocol.compressor import GZIP_MAGIC

# The suffixes that logrotate and similar tools give to compressed files, with the first bytes of each format. Some
# compressors begin with a skippable frame of Zstandard (RFC 8878, 3.1.2).
MAGICS_BY_SUFFIX: Final = {
    ".gz": (GZIP_MAGIC,),
    ".bz2": (b"BZh",),
    ".xz": (b"\xfd7zXZ\x00",),
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))),
    ".lz4": (b"\x04\x22\x4d\x18",),
    ".Z": (b"\x1f\x9d",),
}
_LONGEST_MAGIC: Final = max(len(magic) for magics in MAGICS_BY_SUFFIX.values() for magic in magics)

# The client can continue in archives of these formats if the original file was not read to its end.
READABLE_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".zst")


def is_compressed(path: str, *, or_unfinished: bool = False) -> bool:
    """Whether a file is compressed, judging by its name and first bytes; of a file that cannot be read, by its name.

    `or_unfinished` also accepts a file that may become compressed: a compressor that has just opened its output has not
    written the whole magic number yet.
    """
    if not path.endswith(tuple(MAGICS_BY_SUFFIX)):
        return False
    try:
        with open(open_file(path), "rb") as file:
            begin = file.read(_LONGEST_MAGIC) or b""
    except FileNotFoundError:
        return False
    except OSError:
        return True
    magics = next(magics for suffix, magics in MAGICS_BY_SUFFIX.items() if path.endswith(suffix))
    return begin.startswith(magics) or (or_unfinished and any(magic.startswith(begin) for magic in magics))
