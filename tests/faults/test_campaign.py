"""A short campaign (see campaign.py): the long one is run by hand."""

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Plan

# Of the faults of campaign_faults.py, those that end within seconds.
_FAULTS = ("kill client", "kill server", "crash server", "freeze", "reset", "stall", "lose ack", "half open")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("words", [("--resilient", "--batch-size", "auto"), ("--compress",)], ids=["resilient", "gzip"])
def test_every_line_is_stored_once_whatever_happens_to_both_ends(tmp_path: Path, words: tuple[str, ...]) -> None:
    plan = Plan(
        seconds=8,
        lines_per_second=2000,
        lines_per_file=4000,
        min_kills=2,
        min_resets=3,
        writers=("renamed", "copied"),
        faults=_FAULTS,
        client_words=words,
    )
    result = Campaign(tmp_path, plan).run()
    assert result.is_clean, result
    assert result.fresh_lines_flow, result
    assert result.rotations >= 2, result
    assert result.suppressed, f"no repeat had to be suppressed, so nothing was tested: {result}"
