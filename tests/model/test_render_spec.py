"""What a checkpoint keeps of a rendering: it must be read the same by every later version."""

import json
from typing import Any

import pytest

from logferry.model.format_names import FORMAT_NAMES
from logferry.model.render_spec import RenderSpec

# As checkpoints on disk have it. Never change an entry: add one when a spec gets a new field.
SAVED = [
    ("{}", RenderSpec()),
    ('{"format": "json"}', RenderSpec(format="json")),
    ('{"max_line_bytes": 4096}', RenderSpec(max_line_bytes=4096)),
    (
        '{"multiline": "timestamp", "multiline_max_lines": 7, "multiline_max_bytes": 2048}',
        RenderSpec(multiline="timestamp", multiline_max_lines=7, multiline_max_bytes=2048),
    ),
    (
        '{"format": "regex:(?P<message>.*)", "fields": [["env", "production"], ["host", "web-1"]]}',
        RenderSpec(format="regex:(?P<message>.*)", fields=(("env", "production"), ("host", "web-1"))),
    ),
    (
        '{"include": ["a"], "exclude": ["b", "c"], "redact": ["email", "d"]}',
        RenderSpec(include=("a",), exclude=("b", "c"), redact=("email", "d")),
    ),
    ('{"skips_nuls": true}', RenderSpec(skips_nuls=True)),
    ('{"levels": ["AUDIT", "TO-DO"], "strip_ansi": true}', RenderSpec(levels=("AUDIT", "TO-DO"), strip_ansi=True)),
    ('{"skips_nuls": true, "rules": 2}', RenderSpec(skips_nuls=True, rules=2)),
    ('{"encoding": "utf-16-le"}', RenderSpec(encoding="utf-16-le")),
]


@pytest.mark.parametrize(("saved", "spec"), SAVED)
def test_what_was_saved_is_read(saved: str, spec: RenderSpec) -> None:
    assert RenderSpec.from_json(json.loads(saved)) == spec


@pytest.mark.parametrize(("saved", "spec"), SAVED)
def test_only_what_is_not_the_default_is_saved(saved: str, spec: RenderSpec) -> None:
    assert json.loads(json.dumps(spec.to_json())) == json.loads(saved)


@pytest.mark.parametrize(
    "content",
    [
        {"no_such_field": 1},
        {"format": 1},
        {"format": None},
        {"max_line_bytes": "4096"},
        {"max_line_bytes": True},
        {"rules": 0},
        {"levels": ["(a"]},
        {"levels": [1]},
        {"levels": [["A", "B"]]},
        {"strip_ansi": 1},
        {"encoding": "utf-16"},
        {"encoding": 1},
        {"rules": True},
        {"fields": "env=x"},
        {"include": {"a": "b"}},
    ],
    ids=str,
)
def test_content_that_was_never_saved_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        RenderSpec.from_json(content)


def test_equal_specs_have_equal_hashes() -> None:
    assert len({RenderSpec.from_json(json.loads(saved)) for saved, _ in [*SAVED, *SAVED]}) == len(SAVED)


def test_the_names_of_formats_that_checkpoints_may_have_are_still_there() -> None:
    first = {"plain", "raw", "json", "logfmt", "syslog", "nginx", "apache", "cri", "docker", "python"}
    assert first <= {*FORMAT_NAMES}
    assert len({*FORMAT_NAMES}) == len(FORMAT_NAMES)


def test_a_spec_without_patterns_is_one_for_which_each_was_stopped_on_every_event() -> None:
    """Rule F36. A redaction that is left out must not reveal anything."""
    spec = RenderSpec(
        format="regex:a", multiline="a", include=("a", "b"), exclude=("a", "b"), redact=("a", "b", "email")
    )
    assert spec.without({"a"}) == RenderSpec(format="raw", exclude=("b",), redact=("(?s).+", "b", "email"))
    assert spec.without(set()) is spec


def test_a_spec_without_a_pattern_that_is_called_like_something_built_in_keeps_that() -> None:
    spec = RenderSpec(format="plain", multiline="timestamp", redact=("email",))
    assert spec.without({"plain", "timestamp", "email"}) == spec


def test_a_pattern_inside_of_a_container_s_format_may_be_left_out() -> None:
    spec = RenderSpec(format="cri+regex:a+b")
    assert spec.without({"a+b"}).format == "cri+raw"
    assert spec.without({"a", "b"}) == spec
    assert RenderSpec(format="cri+json").without({"json"}).format == "cri+json"
