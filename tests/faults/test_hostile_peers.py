"""Short attacks of hostile peers (see hostile_peers.py): the long ones, which also measure waits, are run by hand."""

from pathlib import Path

import pytest

from tests.faults.hostile_peers import MAX_RESIDENT_BYTES, run


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "attack", ["unread-content", "unfinished-batches", "waiting-questions", "turn-stalls", "tls-hundred"]
)
def test_an_attack_neither_ends_the_server_nor_costs_it_much_memory(tmp_path: Path, attack: str) -> None:
    outcome = run(attack, tmp_path, seconds=1.0)
    assert outcome.has_survived, outcome
    assert outcome.resident_bytes < MAX_RESIDENT_BYTES, outcome
    assert outcome.acked, outcome
