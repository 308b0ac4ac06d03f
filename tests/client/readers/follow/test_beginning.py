"""The first look of a run: what was rotated before it, also of names that are gone, and where new names start."""

import gzip
from pathlib import Path

import pytest

from tests.support.following import Scene
from tests.support.shipping import append


def not_asked_for(loss: object) -> bool:
    return "not asked for" in str(loss)


@pytest.fixture
def logs(scene: Scene) -> Scene:
    """Return a scene that follows a pattern from the end of what is there at first."""
    scene.names = [scene.folder / "*.log"]
    scene.settings["start_at"] = "end"
    return scene


def test_only_the_first_run_starts_at_the_end(logs: Scene) -> None:
    pods = logs.tmp_path / "pods"
    for pod in ("a", "b"):
        (pods / pod).mkdir(parents=True)
        (logs.folder / f"{pod}.log").symlink_to(pods / pod / "0.log")
    first = append(pods / "a" / "0.log", range(1000, 1010))
    logs.follow()
    append(first, range(10)).rename(first.with_name("0.log.20260301-111213"))
    append(first, range(10, 20)).rename(first.with_name("0.log.20260302-111213"))
    append(first, range(20, 30))
    append(pods / "b" / "0.log", range(30, 40))
    logs.conclude(range(40), lost=not_asked_for)


def test_a_file_that_was_empty_at_the_first_start_is_read_from_its_beginning(logs: Scene) -> None:
    log = logs.folder / "other"
    log.touch()
    logs.names = [log]
    logs.follow()
    append(log, range(10))
    logs.conclude(range(10))


@pytest.mark.parametrize("name", ["app.log.1", "app-20260304.log.old", "app.log.1.gz"])
def test_the_rest_of_a_file_whose_name_nothing_has_now_is_read(scene: Scene, name: str) -> None:
    scene.names = [scene.folder / "*.log"]
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 20))
    rotated = scene.log.rename(scene.folder / name)
    if name.endswith(".gz"):
        rotated.write_bytes(gzip.compress(rotated.read_bytes()))
    scene.conclude(range(20), proven=[rotated])


def test_the_rest_of_a_file_whose_link_is_gone_is_read(scene: Scene) -> None:
    scene.names = [scene.folder / "*.log"]
    real = append(scene.tmp_path / "0.log", range(10))
    link = scene.folder / "a.log"
    link.symlink_to(real)
    scene.follow()
    append(real, range(10, 20))
    link.unlink()
    scene.conclude(range(20), proven=[real])


def test_a_name_that_nothing_asks_for_any_more_is_not_read(scene: Scene) -> None:
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 20)).rename(scene.folder / "app.log.1")
    scene.names = [Path(scene.folder / "other.log")]
    scene.conclude(range(10))
