"""Filters, redaction and extra fields (docs/protocol.md, rules F31 to F34)."""

import base64
import json
import time
from string import ascii_letters, digits
from typing import Any

import pytest

from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.format import Rendered
from logferry.rendering.event_boundaries import event_boundaries
from logferry.rendering.renderer import renderer

TIME = "2024-01-15 08:23:45"


def render(data: str | bytes, **spec: Any) -> Rendered:
    return renderer(RenderSpec(**spec)).render(data if isinstance(data, bytes) else data.encode())


def messages(rendered: Rendered) -> list[str]:
    return [json.loads(record)["message"] for record in rendered.payload.splitlines()]


def redacted(text: str, *patterns: str) -> str:
    """Return a line after redaction."""
    (message,) = messages(render(f"{text}\n", redact=patterns))
    return message


def test_an_event_must_match_a_pattern_to_include_and_none_to_exclude() -> None:
    """Rules F31 and F34."""
    rendered = render("a 1\nb 2\na 3\nc 4\nb 5\n", include=("a", "b"), exclude=("3", "5$"))
    assert messages(rendered) == ["a 1", "b 2"]
    assert (rendered.lines, rendered.filtered) == (2, 3)


def test_filters_see_the_line_without_its_ending() -> None:
    """Rule F31."""
    assert messages(render("a\r\nb\r\n", include=(r"a$", r"^b\Z"))) == ["a", "b"]


def test_filters_see_the_line_and_not_its_record() -> None:
    """Rule F31."""
    assert messages(render(f"{TIME} info a\n{TIME} INFO b\n", include=("info",))) == ["a"]
    assert messages(render('x "a" \\\ty\n', include=(r'"a" \\\ty',))) == ['x "a" \\\ty']


def test_a_pattern_sees_one_event_only() -> None:
    """Rule F31."""
    assert messages(render("a\nb\n", include=(r"a\sb",))) == []
    assert messages(render("a\nb\nc\n", include=(r"\Aa\Z", r"^c$"))) == ["a", "c"]


def test_filters_see_all_lines_of_an_event_and_drop_it_as_one() -> None:
    """Rules F31 and F34."""
    rendered = render("x 1\n a\nx 2\n b\n\nx 3\n a\n", multiline="x", exclude=(r"2\n b",))
    assert messages(rendered) == ["x 1\n a", "x 3\n a"]
    assert (rendered.lines, rendered.joined, rendered.filtered, rendered.blank) == (2, 3, 1, 1)


def test_blank_lines_are_counted_as_blank_whatever_the_filters_say() -> None:
    """Rules F31 and F34."""
    rendered = render("a\n\n \r\nb\n", include=("a",), exclude=("^$",))
    assert (rendered.lines, rendered.blank, rendered.filtered) == (1, 2, 1)


def test_lines_that_are_not_utf8_are_filtered_and_redacted_too() -> None:
    """Rules F31 and F32."""
    data = b"secret caf\xe9\nb\xff secret\n"
    rendered = render(data, include=("^secret",), redact=("secret",))
    assert (rendered.lines, rendered.filtered, rendered.redacted, rendered.undecodable) == (1, 1, 1, 1)
    record = json.loads(rendered.payload)
    assert base64.b64decode(record["raw"]) == b"[redacted] caf\xe9"
    assert record["message"] == "[redacted] caf\ufffd"


def test_bytes_that_are_not_utf8_can_be_redacted() -> None:
    """Rule F32."""
    record = json.loads(render(b"key=\xff\xfe end\n", redact=(r"key=\S+",)).payload)
    assert record == {"level": "UNKNOWN", "message": "[redacted] end", "timestamp": None}


def test_truncated_lines_are_filtered_and_redacted_too() -> None:
    """Rules F31 and F32."""
    cut = renderer(RenderSpec(exclude=("drop",), redact=("secret",)))
    assert cut.render(b"drop this", truncated=True) == Rendered(b"", 0, filtered=1)
    rendered = cut.render(b"a secret\r", truncated=True)
    assert (json.loads(rendered.payload)["message"], rendered.redacted) == ("a [redacted]\r", 1)


def test_redacted_text_is_not_in_any_field() -> None:
    """Rule F32."""
    line = '{"level":"info","msg":"hi bob@example.com","user":"bob@example.com","n":{"x":["bob@example.com"]}}\n'
    rendered = render(line * 20, format="json", redact=("email",))
    assert b"bob" not in rendered.payload
    assert (rendered.lines, rendered.redacted) == (20, 60)
    assert json.loads(rendered.payload.splitlines()[0])["n"] == {"x": ["[redacted]"]}


def test_redaction_spans_the_lines_of_an_event() -> None:
    """Rule F32."""
    rendered = render("x BEGIN\n k1\n k2\nEND z\nx b\n", multiline="x", redact=("(?s)BEGIN.*END",))
    assert messages(rendered) == ["x [redacted] z", "x b"]
    assert (rendered.joined, rendered.redacted) == (3, 1)


def test_filters_come_before_redaction() -> None:
    """Rules F31 and F32."""
    assert messages(render("bob@example.com\n", include=("bob",), redact=("email",))) == ["[redacted]"]
    assert messages(render("x bob@example.com\n", include=("redacted",), redact=("email",))) == []


def test_an_empty_match_redacts_nothing() -> None:
    """Rule F32."""
    assert redacted("abc", "x*") == "abc"
    assert redacted("axxc", "x*") == "a[redacted]c"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("mail to bob.smith+x@mail.example.co.uk.", "mail to [redacted]."),
        ("<a@b.de>,c_d@e-f.org", "<[redacted]>,[redacted]"),
        ("user=bob@example.com", "user=[redacted]"),
        ("żółw@example.com", "[redacted]"),
        ("root@localhost a @ b.c x@ y@.org", "root@localhost a @ b.c x@ y@.org"),
    ],
)
def test_email_addresses_are_redacted(text: str, left: str) -> None:
    """Rule F32."""
    assert redacted(text, "email") == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("from 192.0.2.7:8080", "from [redacted]:8080"),
        ("0.0.0.0,255.255.255.255", "[redacted],[redacted]"),
        ("ip=10.1.2.3.", "ip=[redacted]."),
        ("256.1.1.1 1.2.3 1.2.3.4.5 1.2.3.456", "256.1.1.1 1.2.3 1.2.3.4.5 1.2.3.456"),
    ],
)
def test_ipv4_addresses_are_redacted(text: str, left: str) -> None:
    """Rule F32."""
    assert redacted(text, "ipv4") == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer eyJhbGciOi.J9-_~+/x==; next", "Authorization: [redacted]; next"),
        ("bearer\tabc", "[redacted]"),
        (f"bearer {ascii_letters}{digits}", "[redacted]"),
        ("the bearer, of news", "the bearer, of news"),
    ],
)
def test_bearer_tokens_are_redacted(text: str, left: str) -> None:
    """Rule F32."""
    assert redacted(text, "bearer") == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("card 4111111111111111 ok", "card [redacted] ok"),
        ("4111 1111 1111 1111", "[redacted]"),
        ("5500-0000-0000-0004/378282246310005", "[redacted]/[redacted]"),
        ("x4222222222222x 6304000000000000001", "x[redacted]x 6304000000000000001"),
        ("4111111111111111 2026", "[redacted] 2026"),
        ("12 4111 1111 1111 1111 20 5500000000000004", "12 [redacted] 20 [redacted]"),
        ("4111111111111112", "4111111111111112"),
        ("14111111111111111 41111111111111110000", "14111111111111111 41111111111111110000"),
        ("1705307025123 2024-01-15 08:23:45,123", "1705307025123 2024-01-15 08:23:45,123"),
        ("4111  1111 1111 1111", "4111  1111 1111 1111"),
    ],
)
def test_card_numbers_are_redacted_if_their_check_digit_is_valid(text: str, left: str) -> None:
    """Rule F32."""
    assert redacted(text, "card") == left


def test_each_piece_is_counted_and_patterns_apply_in_order() -> None:
    """Rule F32."""
    rendered = render("a@b.de 192.0.2.7 4111111111111111 c@d.de key=1\n", redact=("email", "ipv4", "card", r"key=\d"))
    assert messages(rendered) == ["[redacted] [redacted] [redacted] [redacted] [redacted]"]
    assert rendered.redacted == 5


@pytest.mark.parametrize("preset", ["email", "ipv4", "card", "bearer"])
@pytest.mark.parametrize("piece", ["a", "a.", "1", "1.", "1 ", "4-", "@", "bearer ", "a@b."])
def test_built_in_redactions_take_linear_time(preset: str, piece: str) -> None:
    def seconds(size: int) -> float:
        begin = time.process_time()
        render(piece * (size // len(piece)) + "\n", redact=(preset,))
        return time.process_time() - begin

    small = min(seconds(4 * 1024) for _ in range(3))
    assert min(seconds(128 * 1024) for _ in range(2)) < 90 * max(small, 1e-3)  # 32 is linear, 1024 the square


@pytest.mark.parametrize("option", ["include", "exclude", "redact"])
def test_an_invalid_pattern_is_refused_with_a_reason(option: str) -> None:
    with pytest.raises(ValueError, match=rf"cannot use '\(' as a pattern \({option}\): \w+"):
        render("", **{option: ("(",)})


def test_the_same_fields_are_added_to_every_record() -> None:
    """Rule F33."""
    rendered = render(f"{TIME} INFO a\nb }}\n\xff\n".encode("latin-1"), fields=(("env", 'pr"öd'), ("host", "w")))
    records = [json.loads(record) for record in rendered.payload.splitlines()]
    assert all(list(record.items())[-2:] == [("env", 'pr"öd'), ("host", "w")] for record in records)
    assert [record["message"] for record in records] == ["a", "b }", "\ufffd"]


def test_extra_fields_are_at_the_end_of_truncated_lines_too() -> None:
    """Rule F33."""
    rendered = renderer(RenderSpec(fields=(("env", "x"),))).render(b"abc", truncated=True)
    assert rendered.payload.endswith(b', "truncated": true, "env": "x"}\n')


def test_a_record_keeps_its_own_field() -> None:
    """Rule F33."""
    lines = (
        '{"message":"a","host":"own"}\n{"message":"b","x":{"host":1}}\n{"message":"\\"host\\""}\n{"message":"host"}\n'
    )
    rendered = render(lines, format="json", fields=(("host", "added"), ("env", "e")))
    assert [json.loads(record)["host"] for record in rendered.payload.splitlines()] == [
        "own",
        "added",
        "added",
        "added",
    ]
    assert all(record.count(b'"env": "e"') == 1 for record in rendered.payload.splitlines())
    assert rendered.payload.splitlines()[0].endswith(b'"host":"own", "env": "e"}')


def test_a_record_that_has_all_extra_fields_is_unchanged() -> None:
    line = '{"level":"A","message":"a","timestamp":1,"host":"own"}\n'
    assert render(line, format="json", fields=(("host", "added"),)).payload == line.encode()


@pytest.mark.parametrize("name", ["level", "message", "timestamp", "raw", "truncated"])
def test_reserved_names_are_refused(name: str) -> None:
    """Rule F33."""
    with pytest.raises(ValueError, match=f"a field cannot be called '{name}'"):
        render("", fields=((name, "x"),))


def test_an_empty_chunk_gets_no_fields() -> None:
    assert render("\n", fields=(("env", "x"),)).payload == b""


def test_specs_that_differ_only_in_extra_fields_share_the_expensive_parts() -> None:
    specs = [RenderSpec(multiline="timestamp", redact=("email",), fields=(("path", str(n)),)) for n in range(3000)]
    assert len({id(renderer(spec)._events) for spec in specs}) == 1
    assert len({id(event_boundaries(spec)) for spec in specs}) == 1


def _card(length: int, first: str = "4") -> str:
    """Return digits with a valid check digit (ISO/IEC 7812, Luhn)."""
    digits = first + "0" * (length - 2)
    total = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def test_a_card_number_has_13_to_19_digits() -> None:
    found = {length: redacted(f"pan {_card(length)} x", "card") == "pan [redacted] x" for length in range(11, 22)}
    assert [length for length, is_redacted in found.items() if is_redacted] == [*range(13, 20)]


def test_a_card_number_begins_with_2_to_6() -> None:
    found = [first for first in "123456789" if redacted(_card(16, first), "card") == "[redacted]"]
    assert found == [*"23456"]
