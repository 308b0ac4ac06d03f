"""The usual lines of access logs and of syslog, which the compiled part renders without the program of the format."""

from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logferry import speedups
from logferry.rendering.engine.compiled.program import Kind, program_of
from logferry.rendering.engine.fields import text
from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.access.apache import APACHE
from logferry.rendering.formats.access.nginx import NGINX
from logferry.rendering.formats.text.syslog import SYSLOG

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled: Any = speedups.compiled

_ACCESS: Final = '192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET /a?b=c HTTP/1.1" 200 2326'
_SYSLOG: Final = "Jan 15 08:23:45 web-1 "

# The lines at the end of a chunk are left to the program, because so many bytes behind each may be read.
_FILLER: Final = b" " * 40 + b"\n"


def usual(format_: LineFormat, line: str, inner_newline: bytes = b"\n") -> bytes:
    """Return the records that need no program: this one knows none of the lines."""
    render = compiled.render_syslog if format_ is SYSLOG else compiled.render_access
    program = program_of([Kind("no such line(?P<message>x)", [text("message")])], compiled, knows_all=False)
    payload, lines, *_ = render(program, line.encode() + b"\n" + _FILLER, inner_newline)
    assert lines == payload.count(b"\n")
    return bytes(payload)


@pytest.mark.parametrize("format_", [NGINX, APACHE], ids=["nginx", "apache"])
@pytest.mark.parametrize(
    "line",
    [
        _ACCESS,
        _ACCESS.replace("- -", "- frank").replace(" 2326", " -"),
        _ACCESS.replace(" 200 2326", " 404 0"),
        _ACCESS.replace(" 200 2326", f" 502 {'9' * 18}"),
        _ACCESS.replace("/a?b=c", "/zażółć/日本"),
        f'{_ACCESS} "-" "curl/8.5"',
        f'{_ACCESS} "https://example.com/" "Mozilla/5.0 (X11; Linux x86_64) é" 0.123',
        f'{_ACCESS} "" "" "10.0.0.7, 192.0.2.1" \\x22 "C:\\x" \x1b',
        f"{_ACCESS} 0.123 [frankfurt]",
    ],
)
def test_a_usual_line_of_an_access_log_needs_no_program(format_: LineFormat, line: str) -> None:
    assert usual(format_, line).decode() == format_.record_of(line) + "\n"


@pytest.mark.parametrize(
    "line",
    [
        f"{_SYSLOG}sshd[4711]: Accepted publickey",
        f"{_SYSLOG}postfix/smtp[1:2]: x",
        f"{_SYSLOG}kernel: [12345.678] eth0: link is up",
        f'{_SYSLOG}app: said "no" \\ \t\x1b[0m é',
        f"{_SYSLOG}app:",
        f"{_SYSLOG}app: ",
        f"{_SYSLOG}last message repeated 2 times",
        f"{_SYSLOG}app[4711 x: y",
        "Jan  5 08:23:45 - app: ERROR x",
        "2024-01-15T08:23:45.123456+01:00 web-1 app[7]: warning: x",
        "2024-01-15T08:23:45Z web-1 app[7]: 2024-01-15 08:23:45,123 +0100 [Error] x",
        *(
            f"{_SYSLOG}app: {words}"
            for words in ("INFO x", "INFO-x", "Info x", "info: x", "[warn] x", "[warn x", "EMERG")
        ),
    ],
)
def test_a_usual_line_of_syslog_needs_no_program(line: str) -> None:
    assert usual(SYSLOG, line).decode() == SYSLOG.record_of(line) + "\n"


@pytest.mark.parametrize("size", range(16, 80))
def test_a_line_of_any_size_at_the_end_of_the_chunk_is_rendered(size: int) -> None:
    access = _ACCESS.replace("/a?b=c", "/" + "a" * size)
    for format_, line in ((NGINX, access), (SYSLOG, _SYSLOG + "x" * size)):
        for lines in ([line], [line, line], [line, line, line[:size]]):
            data = "".join(each + "\n" for each in lines).encode()
            assert format_.render(data, b"\n").payload.decode() == "".join(
                format_.record_of(each) + "\n" for each in lines
            )


_PIECES: Final = (
    *("192.0.2.7", " ", " ", "-", " - ", "- frank", "[15/Jan/2024:08:23:45 +0000]", "[", "]", '] "', '"', '" ', '" "'),
    *(
        '"GET /a HTTP/1.1"',
        "GET",
        "/a",
        "HTTP/",
        "1.1",
        "200",
        "012",
        "2326",
        "0",
        '"-"',
        "curl/8.5",
        "é",
        "\\",
        "\\x22",
    ),
    *(_ACCESS, _ACCESS, f'{_ACCESS} "-" "curl/8.5"', '"-" "-"', _SYSLOG, _SYSLOG, "Jan  5 08:23:45", "x" * 17, "\n"),
    *(
        "2024-01-15T08:23:45.1+01:00",
        "2024/01/15 08:23:45",
        "sshd[7]: ",
        "app:",
        ":",
        "[7]",
        "<38>",
        "\t",
        "\r\n",
        "\x1f",
    ),
    *("ERROR", "warn", "[Info]", "Err:", "INF", "EMERGENCY", "_", "Jan 45 08:23:45 ", "Jan /5 08:23:45 ", "\x0b"),
)
_lines = st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=9).map("".join), min_size=1, max_size=4)
_beginnings = st.sampled_from(["", _ACCESS, f'{_ACCESS} "-" "curl/8.5"', _SYSLOG, f"{_SYSLOG}app[7]: ", "192.0.2.7 - "])


@settings(max_examples=300)
@given(_beginnings, _lines, st.sampled_from([b"\n", b"\x1f", b"\x0b"]))
@example(_ACCESS, [' "-"'], b"\n")
@example(_ACCESS, [' "-" "x" ', "\x1f"], b"\x1f")
@example(f"{_SYSLOG}app:", ["\x1f", "x"], b"\x1f")
def test_lines_are_rendered_as_in_python(beginning: str, lines: list[str], inner_newline: bytes) -> None:
    data = "".join(f"{beginning}{line}\n" for line in lines).encode() + _FILLER
    for format_ in (NGINX, APACHE, SYSLOG):
        rendered = format_.render(data, inner_newline)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speedups, "compiled", None)
            assert rendered == format_.render(data, inner_newline)
