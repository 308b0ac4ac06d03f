"""Text that is not UTF-8: where lines end, what they are in UTF-8, and how a file's encoding is found (rule F58)."""

import base64
import json

import pytest

from logferry.model.encoding_names import ENCODING_NAMES, RANGE_ENCODINGS, encoding_name
from logferry.model.render_spec import RenderSpec
from logferry.rendering.encodings import encoding_named, encoding_of
from logferry.rendering.renderer import renderer

WIDE = ["utf-16-le", "utf-16-be"]

# Characters whose bytes look like newlines where they are not read as pairs.
MISLEADING = "\u0a00\u000a\u0a0a\u0d0a\u000a\U0001f60a\u0a00\u0a00\n"


@pytest.mark.parametrize("name", RANGE_ENCODINGS)
def test_lines_end_where_their_characters_say(name: str) -> None:
    encoding, text = encoding_named(name), MISLEADING if name not in ("latin-1", "cp1252") else "a\nb\r\n\xe9\n"
    data = text.encode(name)
    ends, lines = list[int](), text.split("\n")[:-1]
    while (begin := sum(ends)) < len(data):
        ends.append(encoding.line_end(data[begin:], 0))
    assert ends == [len((line + "\n").encode(name)) for line in lines]
    assert encoding.lines_end(data + "rest".encode(name), 0) == len(data)
    assert encoding.decoded(data, 0) == text.encode()
    assert encoding.encoded_length(text.encode()) == len(data)
    assert encoding.line_end("rest".encode(name), 0) == encoding.lines_end("rest".encode(name), 0) == 0


@pytest.mark.parametrize("name", WIDE)
def test_half_a_character_before_the_text_shifts_all_of_it(name: str) -> None:
    encoding, data = encoding_named(name), b"\x0a" + MISLEADING.encode(name)
    assert encoding.line_end(data, 1) == 1 + len("\u0a00\n".encode(name))
    assert encoding.lines_end(data, 1) == len(data)
    text = encoding.decoded(data, 1)
    assert text.endswith(MISLEADING.encode())
    assert text.count(b"\n") == MISLEADING.count("\n")
    assert encoding.encoded_length(text) == len(data)


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("half", [b"\x00", b"\x0a", b"\x0d", b"A", b"\xff"])
@pytest.mark.parametrize("text", ["", "before \ud83d and \ude00\ud83d", "\U0001f600"])
def test_what_is_not_text_is_kept_as_the_file_has_it(name: str, half: bytes, text: str) -> None:
    """F8, F58."""
    written = text.encode(name, "surrogatepass") + half
    event = encoding_named(name).decoded(written, 0)
    rendered = renderer(RenderSpec(format="raw", encoding=name)).render(event)
    record = json.loads(rendered.payload)
    assert base64.b64decode(record["raw"]) == written
    assert (
        record["message"]
        == text.encode("utf-16-le", "replace" if "\ud83d and" in text else "strict")
        .decode("utf-16-le")
        .replace("?", "\ufffd")
        + "\ufffd"
    )
    assert (rendered.lines, rendered.undecodable) == (1, 1)


def test_half_a_character_at_the_beginning_is_kept_too() -> None:
    written = b"\x00" + "text \ud800".encode("utf-16-le", "surrogatepass")
    event = encoding_named("utf-16-le").decoded(written, 1)
    record = json.loads(renderer(RenderSpec(format="raw", encoding="utf-16-le")).render(event).payload)
    assert record["message"] == "\ufffdtext \ufffd"
    assert base64.b64decode(record["raw"]) == written


def test_a_redaction_in_what_is_not_text_hides_it_in_raw_too() -> None:
    """F32."""
    event = encoding_named("utf-16-le").decoded("secret \ud800 1.2.3.4".encode("utf-16-le", "surrogatepass") + b"x", 0)
    record = json.loads(renderer(RenderSpec(encoding="utf-16-le", redact=("ipv4", "secret"))).render(event).payload)
    assert base64.b64decode(record["raw"]).decode("utf-16-le", "replace") == "[redacted] \ufffd [redacted]\ufffd"
    for pattern in (".", "\udced", "\udc80"):  # the pattern cuts what stands for a surrogate to pieces
        assert renderer(RenderSpec(encoding="utf-16-le", redact=(pattern,))).render(event).lines == 1


@pytest.mark.parametrize("name", ["latin-1", "cp1252"])
def test_each_byte_of_a_code_page_is_a_character(name: str) -> None:
    for code in range(256):
        text = encoding_named(name).decoded(bytes([code]), 0).decode()
        assert len(text) == 1
        assert text == bytes([code]).decode(name, "replace").replace("\ufffd", chr(code))
        assert encoding_named(name).encoded_length(text.encode()) == 1


LE, BE = "utf-16-le", "utf-16-be"


@pytest.mark.parametrize(
    ("beginning", "configured", "found"),
    [
        (b"", "utf-8", "utf-8"),
        (b"20", "utf-8", "utf-8"),
        (b"", "utf-16", LE),
        (b"\xff\xfe2\0", "utf-8", LE),
        (b"\xff\xfe", "latin-1", LE),
        (b"\xff\xfe2\0", BE, LE),
        (b"\xfe\xff\0002", "utf-8", BE),
        (b"\xfe\xff\0002", LE, BE),
        (b"\xef\xbb\xbf2", "cp1252", "utf-8"),
        (b"\xef\xbb\xbf2", "utf-16", "utf-8"),
        (b"\xff\xfe\0\0", "utf-8", "utf-8"),  # UTF-32, which is not known
        (b"2\0000\0", "utf-8", LE),  # no byte order mark, but nothing else looks like this
        (b"\0002\0000", "utf-8", BE),
        (b"\0002\0000", "utf-16", BE),
        (b"2\0000\0", "utf-16", LE),
        (b"2\0000\0", "latin-1", "latin-1"),  # configured
        (b"2\0000\0", BE, BE),
        (b"\0\0\0\0", "utf-8", "utf-8"),
        (b"2\0\0\0", "utf-8", "utf-8"),
        (b"\xe4\xf6\xfc", "latin-1", "latin-1"),
        (b"\xff\xe42\0", "cp1252", "cp1252"),
        (b"2\0", "utf-8", "utf-8"),
    ],
)
def test_a_byte_order_mark_decides_whatever_is_configured(beginning: bytes, configured: str, found: str) -> None:
    """F58."""
    assert encoding_of(beginning, configured) == found


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((name, name) for name in ENCODING_NAMES),
        *((name.upper(), name) for name in ENCODING_NAMES),
        *(
            ("UTF_16LE", LE),
            ("utf16", "utf-16"),
            ("UTF8", "utf-8"),
            ("ISO-8859-1", "latin-1"),
            ("iso8859_1", "latin-1"),
        ),
        *(("Windows-1252", "cp1252"), ("L1", "latin-1"), ("utf-16be", BE)),
        *(("", None), ("utf-32", None), ("utf-8-sig", None), ("ascii", None), ("\u017ftf-8", None), ("-", None)),
    ],
)
def test_encodings_have_the_names_that_python_gives_them(text: str, name: str | None) -> None:
    assert encoding_name(text) == name


@pytest.mark.parametrize("name", ["utf-16", "ascii", ""])
def test_a_range_has_one_byte_order(name: str) -> None:
    with pytest.raises(ValueError, match="unknown encoding"):
        encoding_named(name)
    with pytest.raises(ValueError, match="is not known"):
        RenderSpec.from_json({"encoding": name})
