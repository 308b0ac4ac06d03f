"""A short campaign (see campaign.py): the long one is run by hand."""

import dataclasses
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, Plan

# Of the faults of campaign_faults.py, those that end within seconds.
_FAULTS = ("kill client", "kill server", "crash server", "freeze", "reset", "stall", "lose ack", "half open", "cut")
_FAULTS_OF_TLS = ("cut", "break off", "flip on the wire", "replace certificates", "replace token", "break file")

# On a slow machine it may happen that no fault of a short campaign meets a batch on its way.
_ATTEMPTS = 3


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("words", "tls"),
    [(("--resilient", "--batch-size", "auto"), False), (("--compress",), True)],
    ids=["resilient", "gzip over TLS to two servers"],
)
def test_every_line_is_stored_once_whatever_happens_to_both_ends(
    tmp_path: Path, words: tuple[str, ...], tls: bool
) -> None:
    plan = Plan(
        seconds=4 if tls else 8,  # over TLS, it ends when certificates were replaced and broken often enough
        lines_per_second=2000,
        lines_per_file=4000,
        min_kills=1 if tls else 2,
        min_resets=3,
        writers=("renamed", "copied"),
        faults=_FAULTS_OF_TLS if tls else _FAULTS,
        client_words=words,
        tls=tls,
        servers=2 if tls else 1,
        asks_for_looks=1.0,  # quick
    )
    for attempt in range(_ATTEMPTS):
        (folder := tmp_path / str(attempt)).mkdir()
        result = Campaign(folder, dataclasses.replace(plan, seed=plan.seed + attempt)).run()
        assert result.is_clean, result
        assert result.fresh_lines_flow, result
        assert result.rotations >= 2, result
        if result.suppressed:
            return
    pytest.fail(f"no repeat had to be suppressed, so nothing was tested: {result}")
