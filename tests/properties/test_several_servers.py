"""A few seeds of the model of several servers; many are run by hand (several_servers_model.py)."""

from pathlib import Path

import pytest

from tests.properties.several_servers_model import run_seed


@pytest.mark.parametrize("seed", [11, 29, 38])
def test_every_line_is_in_a_store_whatever_fails(seed: int, tmp_path: Path) -> None:
    run_seed(seed, tmp_path)
