"""Links that change, and rotations where they lead, under a reader that looks at any moment (see link_storm.py)."""

from pathlib import Path

import pytest

from tests.properties.link_storm import run


@pytest.mark.parametrize("seed", range(4))
def test_every_line_comes_out_once_whatever_the_link_leads_to_meanwhile(tmp_path: Path, seed: int) -> None:
    assert run(tmp_path, seed) == ""
