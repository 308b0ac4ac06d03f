"""Which format is detected from the first lines of a file (docs/protocol.md, rule F13)."""

import pytest

from logferry.model.format_names import FORMATS, RUNTIME_FORMATS, Sought
from logferry.rendering.detect import Tally, candidates, chosen, detect
from tests.support.formats import SAMPLES

PLAIN = "2024-01-15 08:23:45 INFO ready"


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.log")))
def test_the_samples_are_recognised(sample: str) -> None:
    """Rule F13."""
    name = sample.partition("-")[0]
    assert detect((SAMPLES / f"{sample}.log").read_bytes()) == (f"{name}+auto" if name in RUNTIME_FORMATS else name)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (PLAIN, "plain"),
        ("2024-01-15T08:23:45.123+01:00 [warn] a=b c=d", "plain"),
        ("2024-01-15T08:23:45Z INFO ready", "plain"),
        ("2024-01-15 08:23:45,123 WARNING app.db: lost", "plain"),
        ("2024-01-15T08:23:45.123456+01:00 myhost app[12]: INFO ready", "syslog"),
        ("2024-01-15T08:23:45.123456789Z stdout F INFO ready", "cri+auto"),
        ('{"log":"INFO ready\\n","stream":"stdout","time":"2024-01-15T08:23:45.123456789Z"}', "docker+auto"),
        ('{"log":"INFO ready","level":"info"}', "json"),
        ("WARNING:root:careful", "python"),
        ("type=LOGIN msg=audit(1772622733.415:4063): pid=8 uid=0 a=b", "auditd"),
        ("I0115 08:23:45.123456       1 pump.go:123] ready", "klog"),
        ("2024-01-15 08:23:45,123 - app - INFO - ready", "python"),
        ("level=info msg=ready", "logfmt"),
        ('192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 200 612', "nginx"),
        ("[Mon Jan 15 08:23:45.123456 2024] [core:notice] [pid 7] ready", "apache"),
    ],
)
def test_one_line_can_be_enough(line: str, name: str) -> None:
    """Rule F13."""
    assert detect(f"{line}\n".encode()) == detect(line.encode()) == detect(f"\ufeff{line}\r\n".encode()) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "hello\n",
        "user=frank is here\n",
        "{\n  'a': 1\n}\n",
        "2024-01-15 08:23:45 ready\n",
        "\x00\xff\n",
        "[1]\n",
    ],
)
def test_an_unclear_format_is_not_detected(text: str) -> None:
    """Rule F13."""
    assert detect(text.encode()) is None


def test_blank_and_indented_lines_do_not_count() -> None:
    """Rule F13."""
    assert detect(f"{PLAIN}\n\n    at a\n    at b\n\tat c\n".encode()) == "plain"


def test_half_of_the_lines_must_fit() -> None:
    """Rule F13."""
    assert detect(f"{PLAIN}\nhello\n".encode()) == "plain"
    assert detect(f"{PLAIN}\nhello\nthere\n".encode()) is None


def test_only_the_first_twenty_lines_count() -> None:
    """Rule F13."""
    assert detect(f"{PLAIN}\n".encode() * 20 + b"hello\n" * 100) == "plain"
    assert detect(b"hello\n" * 20 + f"{PLAIN}\n".encode() * 100) is None


def test_lines_that_are_not_utf8_can_be_recognised() -> None:
    assert detect(PLAIN.encode() + b" caf\xe9\n") == "plain"


def test_half_of_the_lines_are_enough_for_a_container_format() -> None:
    """Other formats would match more of the lines."""
    framed = b"2024-01-15T08:23:45Z stdout F x\n"
    other = b"2024-01-15 08:23:45 INFO x\n"
    assert detect(framed * 3 + other * 3) == "cri+auto"
    assert detect(framed * 3 + other * 4) == "plain"


def test_lines_after_the_20th_do_not_matter() -> None:
    plain, other = b"2024-01-15 08:23:45 INFO x\n", b"x\n"
    assert detect(plain * 10 + other * 10 + other) == "plain"
    assert detect(plain * 9 + other * 11 + plain * 2) is None


@pytest.mark.parametrize(
    ("word", "found"), [("SEVERE", "plain"), ("Severe:", "plain"), ("web", None), ("INFORMATION", None)]
)
def test_a_line_is_plain_only_with_a_known_level(word: str, found: str | None) -> None:
    assert detect(f"2024-01-15 08:23:45 {word} x\n".encode()) == found


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("2026-03-04T11:12:13Z Pump starts", None),
        ("2026-03-04T11:12:13Z INFO pump: on", "plain"),
        ("2026-03-04T11:12:13Z [INFO] pump: on", "plain"),
        ("2026-03-04T11:12:13Z error: pump: off", "plain"),
        ("2026-03-04T11:12:13Z main ERROR: off", None),
        ("2026-03-04T11:12:13Z 0 [Note] [MY-1] on", "plain"),
        ("2026-03-04T11:12:13+01:00 debian pump[811]: on", "syslog"),
        ("2026-03-04T11:12:13+01:00 debian kernel: on", "syslog"),
        ("<38>Mar  4 11:12:13 web-1 on", "syslog"),
        ("2026-03-04 11:12:13 [main] INFO on", "plain"),
        ("2026/03/04 11:12:13 [error] 811#0: off", "nginx"),
    ],
)
def test_a_time_and_a_word_are_syslog_only_with_a_tag_or_a_priority(line: str, name: str | None) -> None:
    """Rule F43."""
    assert detect(f"{line}\n".encode()) == name


def test_every_format_of_the_table_is_considered_unless_it_says_otherwise() -> None:
    """Rule F57: a new format needs nothing but its line in the table."""
    found = {candidate.name.removesuffix("+auto") for candidate in candidates()}
    assert found == {each.name for each in FORMATS if each.sought is not Sought.NEVER}
    assert {each.name for each in FORMATS} - found == {"raw"}


@pytest.mark.parametrize("sample", sorted(path.stem for path in SAMPLES.glob("*.log")))
@pytest.mark.parametrize("other", ["json", "cri", "logfmt"])
def test_lines_that_are_counted_one_by_one_choose_what_they_choose_together(sample: str, other: str) -> None:
    lines = (SAMPLES / f"{sample}.log").read_text(errors="replace").splitlines()
    lines += (SAMPLES / f"{other}.log").read_text(errors="replace").splitlines()
    tally = Tally()
    for count, line in enumerate(lines[:30], 1):
        tally.add([line])
        assert tally.chosen() == chosen(lines[:count])
