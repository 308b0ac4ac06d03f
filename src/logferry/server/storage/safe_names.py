"""Safe names: any text as the name of one folder that people recognise.

Letters, marks and digits of every script stay, and so do dots, hyphens and underscores. Everything else becomes an
underscore: separators, controls, what reorders or hides text. A name that had to be changed ends in eight digits of a
hash of the original, so that different names stay different, as far as eight digits can; a name that ends like that by
itself is changed, too. Pure: never reads or writes a file.

Limits: at most 100 characters and 130 bytes, and ten more for the hash; in NFC, as most programs write names.
"""

import functools
import re
import sys
import unicodedata
from typing import Final

from logferry.names import are_utf_8

# File systems take 255 bytes a name; this leaves room for the hashes that keep changed names apart, and names apart
# that would have the same folder.
MAX_NAME_CHARS: Final = 100
# Some encrypted file systems take 143 bytes a name, not 255. A name that the disk refuses would stop all that is new.
MAX_NAME_BYTES: Final = 130

# Not safe as it is: what looks like a changed name, because another name may change into it; and the name of a segment
# or of what lies beside one, because the folder would be in that file's place.
_CHANGED: Final = r".*-[0-9a-f]{8}\Z"
_SEGMENT: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]+\.ndjson"
_has_safe_form: Final = re.compile(rf"(?!\.|{_CHANGED}|{_SEGMENT})[^/]{{1,{MAX_NAME_CHARS}}}", re.DOTALL).fullmatch
_is_ascii: Final = re.compile(r"[A-Za-z0-9._-]*").fullmatch

# Letters and marks that nobody sees: fillers, joiners and selectors of variants.
_is_invisible: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
).fullmatch

# Where the file system has names of another encoding, names are ASCII: Python could not open all others.
_IS_UTF_8: Final = are_utf_8(sys.getfilesystemencoding())


def safe_name(text: str) -> str:
    """Return `text` as the name of one folder: no separators, no leading dot, never empty."""
    return text if _is_safe(text) else hashed_name(text, text)


def hashed_name(text: str, original: str) -> str:
    """Return what can stay of `text`, with the hash of `original`."""
    text = unicodedata.normalize("NFC", text[: 2 * MAX_NAME_CHARS])  # cut first: this takes long for a long text
    safe = "".join(char if _stays(char) else "_" for char in text[:MAX_NAME_CHARS])
    safe = re.sub(r"^\.+", "_", safe) or "_"
    if unicodedata.category(safe[0]).startswith("M"):  # it would be drawn over the separator before it
        safe = f"_{safe[1:]}"
    safe = safe.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    import hashlib  # late: most names are safe, and commands that only read need none

    return f"{safe}-{hashlib.sha256(original.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _is_safe(text: str) -> bool:
    if not _has_safe_form(text):
        return False
    if _is_ascii(text):
        return True
    return (
        all(map(_stays, text))
        and not unicodedata.category(text[0]).startswith("M")
        and unicodedata.is_normalized("NFC", text)
        and len(text.encode()) <= MAX_NAME_BYTES
    )


@functools.lru_cache(maxsize=4096)
def _stays(char: str) -> bool:
    if char.isascii():
        return _is_ascii(char) is not None
    kind = unicodedata.category(char)
    return _IS_UTF_8 and (kind[0] in "LM" or kind == "Nd") and not _is_invisible(char)
