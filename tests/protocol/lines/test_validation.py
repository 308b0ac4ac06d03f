"""Which lines a server takes, and why it refuses others (docs/protocol.md, rules L1 to L7)."""

import time

import pytest

from logferry.protocol.lines.validation import Accept, Lines, Rejected, Verdict, validate_line
from tests.support.judging import validate

CANONICAL = b'{"level": "INFO", "message": "a", "timestamp": "2024-01-15 08:23:45"}\n'
FOREIGN = b'{"message":"b","level":30}\n'


def judge(payload: bytes, *, accept: Accept = Accept.LEVEL_AND_MESSAGE) -> list[Verdict]:
    return validate(payload, accept=accept)


def judge_one(line: bytes, *, accept: Accept = Accept.LEVEL_AND_MESSAGE) -> Verdict:
    """Judge one line as a chunk and by itself; both must say the same."""
    (verdict,) = validate(line + b"\n", accept=accept)
    assert verdict == validate_line(line + b"\n", accept=accept)
    return verdict


def reason(line: bytes, *, accept: Accept = Accept.LEVEL_AND_MESSAGE) -> str:
    verdict = judge_one(line, accept=accept)
    assert isinstance(verdict, Rejected)
    return verdict.reason


def test_a_run_of_lines_of_our_client_is_one_verdict() -> None:
    assert judge(CANONICAL * 1000) == [Lines(CANONICAL * 1000, 1000)]


def test_nothing_gives_no_verdict() -> None:
    assert judge(b"") == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"level": "INFO", "message": "a", "timestamp": null}',
        b'{"level": "INFO", "message": "", "timestamp": "2024-01-15T08:23:45,123 +01:00"}',
        b'{"level": "INFO", "message": "\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9 \xc3\xa9", "timestamp": null}',
        b'{"level": "INFO", "message": "a", "timestamp": null, "raw": "/w=="}',
        b'{"level": "INFO", "message": "a", "timestamp": null, "raw": "/w==", "truncated": true}',
        b'{"level": "INFO", "message": "a", "timestamp": null, "truncated": true}',
        b'{"level":"info","message":"a"}',
        b'{"message": {"nested": [1, 2, {}]}, "level": null, "host": "web-1"}',
        b'{"level": "a", "message": "b", "level": "c"}',
        b'{"level": 1e400, "message": -0.5}',
        b'{"level": 1, "message": "\\ud800"}',
    ],
)
def test_objects_with_level_and_message_are_taken_as_written(line: bytes) -> None:
    """Rules L1 and L7."""
    assert judge_one(line) == Lines(line + b"\n", 1)


def test_white_space_around_a_line_is_not_stored() -> None:
    """Rules M2 and L7."""
    assert judge_one(b" \t" + FOREIGN[:-1] + b" \r") == Lines(FOREIGN, 1)
    assert judge(CANONICAL[:-1] + b"\r\n") == [Lines(CANONICAL, 1)]


@pytest.mark.parametrize("blank", [b"", b" ", b"\t \r"])
def test_an_empty_line_is_refused(blank: bytes) -> None:
    """Rule L5."""
    assert reason(blank) == "empty line"


@pytest.mark.parametrize("line", [b"[]", b'"text"', b"42", b"null", b"true", b"[" + CANONICAL[:-1] + b"]"])
def test_json_that_is_no_object_is_refused(line: bytes) -> None:
    """Rule L1."""
    assert reason(line) == "not a JSON object"
    assert reason(line, accept=Accept.ANY_OBJECT) == "not a JSON object"


def test_a_missing_field_is_named() -> None:
    """Rule L1."""
    assert reason(b'{"message": "a"}') == 'missing field "level"'
    assert reason(b'{"level": "INFO"}') == 'missing field "message"'
    assert reason(b"{}") == 'missing field "level"'


@pytest.mark.parametrize("line", [b"{}", b'{"log":"x","stream":"stderr"}', b'{"@timestamp": 1}'])
def test_with_any_object_any_object_is_taken(line: bytes) -> None:
    """Rule L1."""
    assert judge_one(line, accept=Accept.ANY_OBJECT) == Lines(line + b"\n", 1)


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"{",
        b'{"level": "INFO", "message": "a"',
        b'{"level": "INFO", "message": "a",}',
        b"{'level': 'INFO', 'message': 'a'}",
        b'{"level": "INFO", "message": "a"} x',
        CANONICAL[:-1] + CANONICAL[:-1],
        b'{"level": "INFO", "message": "tab\there", "timestamp": null}',
        b'{"level": "INFO", "message": "nul\x00", "timestamp": null}',
        b'{"level": "INFO", "message": "\\x", "timestamp": null}',
        b'{"level": "INFO", "message": "\\u12g4", "timestamp": null}',
        b'{"level": "INFO", "message": "ends in a backslash\\", "timestamp": null}',
        b'{"level": 01, "message": "a"}',
        b"\xef\xbb\xbf" + CANONICAL[:-1],
    ],
)
def test_what_is_not_json_is_refused(line: bytes) -> None:
    """Rule M2."""
    assert reason(line).startswith("invalid JSON: ")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_only_python_knows_are_refused(number: bytes) -> None:
    """Rule L3."""
    assert reason(b'{"level": "INFO", "message": %b}' % number) == f"invalid JSON: {number.decode()} is not JSON"


def test_a_number_may_have_a_million_digits() -> None:
    """Rule L3."""
    line = b'{"level": "INFO", "message": ' + b"9" * 1_000_000 + b"}"
    assert judge_one(line) == Lines(line + b"\n", 1)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_and_not_fatal(opening: bytes) -> None:
    """Rule L4."""
    assert reason(b'{"level": "INFO", "message": ' + opening * 200_000).startswith("invalid JSON")
    assert judge(CANONICAL) == [Lines(CANONICAL, 1)]


@pytest.mark.parametrize("rubbish", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xe2\x82", b"\x80"])
@pytest.mark.parametrize("template", [CANONICAL, FOREIGN])
def test_a_line_that_is_not_utf8_is_refused(rubbish: bytes, template: bytes) -> None:
    """Rule L2."""
    for place in (1, 20, len(template) - 1):
        assert reason(template[:place] + rubbish + template[place:-1]) == "not valid UTF-8"


def test_verdicts_come_in_the_order_of_the_lines() -> None:
    invalid = CANONICAL.replace(b"a", b"\xff", 1)
    verdicts = judge(CANONICAL + CANONICAL + b"\n" + FOREIGN + CANONICAL + invalid + invalid + CANONICAL + b"x\n")
    assert verdicts[:3] == [Lines(CANONICAL * 2, 2), Rejected("empty line"), Lines(FOREIGN + CANONICAL, 2)]
    assert verdicts[3:6] == [Rejected("not valid UTF-8"), Rejected("not valid UTF-8"), Lines(CANONICAL, 1)]
    assert isinstance(verdicts[6], Rejected)


@pytest.mark.parametrize(
    "line",
    [
        b'{"level": "INFO", "message": "a", "timestamp": null, "status": 200, "x": -1.5e3, "y": true, "z": "\\u00e9"}',
        b'{"timestamp":"t","level":30,"pid":1,"message":"m","n":{"a":[1,{"b":null}]}}',
        b'{"message": "m", "a": [], "level": "INFO"}',
        b'{"level": "INFO", "message": "a", "timestamp": null, "raw": "/w==", "truncated": true, "host": "web-1"}',
    ],
)
def test_objects_with_other_members_are_judged_in_one_run(line: bytes) -> None:
    assert judge((line + b"\n") * 1000) == [Lines((line + b"\n") * 1000, 1000)]


def test_valid_text_far_from_ascii_passes_whole_in_any_amount() -> None:
    line = CANONICAL.replace(b'"a"', '"é日本語🚢"'.encode())
    assert judge(line * 5000) == [Lines(line * 5000, 5000)]


def test_an_invalid_line_far_behind_is_the_only_one_refused() -> None:
    line = CANONICAL.replace(b'"a"', '"é"'.encode())
    invalid = CANONICAL.replace(b'"a"', b'"\xe9"')
    verdicts = judge(line * 3000 + invalid + line * 3000)
    assert verdicts == [Lines(line * 3000, 3000), Rejected("not valid UTF-8"), Lines(line * 3000, 3000)]


@pytest.mark.parametrize("line", [b"\xff", b"", b"x", b'{"level": "INFO", "message": "\\', CANONICAL[:-1] + b"\xff"])
def test_no_kind_of_rubbish_costs_the_square_of_its_length(line: bytes) -> None:
    def seconds(size: int) -> float:
        payload = (line + b" " * 32 + b"\n") * (size // 34)
        begin = time.process_time()
        judge(payload)
        return time.process_time() - begin

    small = min(seconds(32 * 1024) for _ in range(3))
    assert min(seconds(1024 * 1024) for _ in range(2)) < 90 * max(small, 1e-3)  # 32 is linear, 1024 the square
