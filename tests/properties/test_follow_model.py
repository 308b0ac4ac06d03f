"""The continuous reader against a model of everything that can happen to log files (follow_model.py)."""

from pathlib import Path

import pytest

from tests.properties.follow_model import ACTIONS, run

STEPS = 700


@pytest.mark.parametrize("max_open_files", [None, 8], ids=["all-open", "in-turns"])
@pytest.mark.parametrize("is_glob", [False, True], ids=["name", "pattern"])
def test_every_line_comes_out_once_whatever_happens_to_its_file(
    tmp_path: Path, is_glob: bool, max_open_files: int | None
) -> None:
    world = run(tmp_path, 4, STEPS, is_glob=is_glob, max_open_files=max_open_files)
    assert world.verdict() == {"repeated": [], "missing": []}
    happened = {name for name, times in world.counts.items() if times}
    assert len(happened) >= len(ACTIONS) - 4, f"too little has happened to prove anything: {world.counts}"
    assert world.counts["lines"] > STEPS / 2
