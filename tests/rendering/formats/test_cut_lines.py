"""A line that was cut anywhere has the level and the timestamp of the whole line, or none."""

import re

import pytest

from tests.support.formats import SAMPLES, records

NAMES = ["haproxy", "envoy", "traefik", "elb", "alb", "postgres", "rails"]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_was_cut_has_no_wrong_level_or_timestamp(name: str) -> None:
    """Rule F5."""
    for line in (SAMPLES / f"{name}.log").read_text(encoding="utf-8").split("\n")[:-1]:
        (whole,) = records(name, line)
        cut = [line[:size] for size in range(1, len(line)) if line[:size].strip()]
        cut = [text for text in cut if not re.search("UTC-[0-9]+$", text)]  # what is cut looks like a zone
        for text, record in zip(cut, records(name, *cut), strict=True):
            assert record["level"] == "UNKNOWN" or whole["level"].startswith(record["level"]), text  # ERR is ERROR
            times = [str(whole.get(key)) for key in ("timestamp", "time")]  # the latter is that of a syslog daemon
            assert any(time.startswith(record["timestamp"] or "") for time in times), text
