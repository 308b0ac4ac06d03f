"""File names as text: unchanged if they are UTF-8, one escape for the bytes that are not, and no two alike."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.names import encodable, text_of_name

SOURCE = Path(__file__).resolve().parents[1] / "src"

# Bytes from which names are made that look like others.
BYTES = st.lists(st.sampled_from([b"\\", b"x", b"f", b"8", b"\xff", b"\x80", b"\xc3\xa9", b"a"]), max_size=12)


def name_of(text: str) -> bytes:
    """Undo `text_of_name` (rule N1), written independently of it."""

    def undo(match: re.Match[str]) -> str:
        backslashes, digits = len(match[1]), match[2]
        kept = "\\" * (backslashes // 2)
        return kept + (chr(0xDC00 + int(digits, 16)) if backslashes % 2 else f"x{digits}")

    return re.sub(r"(\\+)x([89a-f][0-9a-f])", undo, text).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"/var/log/app.log", "/var/log/app.log"),
        ("/var/log/bücher.log".encode(), "/var/log/bücher.log"),
        (b"caf\xe9.log", r"caf\xe9.log"),
        (rb"caf\xe9.log", r"caf\\xe9.log"),
        (rb"caf\\xe9.log", r"caf\\\\xe9.log"),
        (b"caf\\\xe9.log", r"caf\\\xe9.log"),
        (rb"dev-disk\x2dby\xzz", r"dev-disk\x2dby\xzz"),
        (b"a\nb", "a\nb"),
        (b"\xed\xb3\xbf", r"\xed\xb3\xbf"),  # half a character is not UTF-8
    ],
)
def test_a_name_has_one_text(name: bytes, text: str) -> None:
    """Rule N1."""
    assert text_of_name(os.fsdecode(name)) == text
    assert name_of(text) == name


@given(BYTES)
def test_no_two_names_have_the_same_text(parts: list[bytes]) -> None:
    """Rule N1: the name can be computed from the text."""
    name = b"".join(parts)
    text = text_of_name(os.fsdecode(name))
    text.encode()
    assert name_of(text) == name


def test_a_text_is_changed_only_if_utf_8_cannot_encode_it() -> None:
    assert encodable(r"\xff") == r"\xff"
    assert encodable("\udcff") == r"\xff"
    assert encodable("\ud800") == r"\ud800"


def test_a_name_has_the_same_text_in_every_locale() -> None:
    program = (
        "import os, sys; from logferry.names import text_of_name; "
        "print(sys.getfilesystemencoding(), ascii(text_of_name(os.fsdecode(b'b\\xc3\\xbc\\xff'))))"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=True)
    encoding, text = done.stdout.split(maxsplit=1)
    assert (encoding, text) == ("ascii", r"'b\xfc\\xff'" + "\n")
