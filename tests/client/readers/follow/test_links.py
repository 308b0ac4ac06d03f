"""Followed names that are symbolic links: what is rotated where they lead, and what they led to meanwhile, is read."""

import gzip
import shutil
from pathlib import Path

import pytest

from tests.support.following import Scene
from tests.support.shipping import append


def point(link: Path, target: Path) -> None:
    """Point a symbolic link to `target`, atomically."""
    aside = link.with_name(".link-in-the-making")
    aside.symlink_to(target)
    aside.rename(link)


def rotate(log: Path) -> Path:
    """Rename a log file as logrotate does."""
    return log.rename(log.with_name(log.name + ".1"))


def rotations(log: Path) -> list[Path]:
    """Return the files that had a name, the present one last."""
    return [*sorted(log.parent.glob(f"{log.name}.*"), reverse=True), log]


@pytest.fixture
def real(scene: Scene) -> Path:
    """Return the path in a folder of its own to which the followed name leads."""
    real = scene.tmp_path / "pods" / "0.log"
    real.parent.mkdir()
    scene.log.symlink_to(real)
    return real


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_files_that_are_rotated_where_a_link_leads_are_all_read(
    scene: Scene, real: Path, times: int, is_running: bool
) -> None:
    append(real, range(10))
    with scene.running() as run:
        run.settle()
        if is_running:
            with run.paused():
                _rotate_as_kubelet_does(real, times)
            run.settle()
    if not is_running:
        _rotate_as_kubelet_does(real, times)
    scene.conclude(range(20 + 20 * times), proven=[real, *real.parent.glob("0.log.*")])


def _rotate_as_kubelet_does(real: Path, times: int) -> None:
    for number in range(times):
        append(real, range(10 + 20 * number, 20 + 20 * number))
        real.rename(real.with_name(f"0.log.2026030{number + 1}-111213"))
        append(real, range(20 + 20 * number, 30 + 20 * number))
    append(real, range(10 + 20 * times, 20 + 20 * times))


def test_an_archive_where_a_link_leads_is_read(scene: Scene, real: Path) -> None:
    append(real, range(10))
    scene.follow()
    append(real, range(10, 20))
    archive = real.with_name("0.log.20260301-111213.gz")
    archive.write_bytes(gzip.compress(real.read_bytes()))
    shutil.copystat(real, archive)
    real.unlink()
    append(real, range(20, 30))
    scene.conclude(range(30), proven=[archive, real])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_copies_that_are_made_where_a_link_leads_add_nothing(scene: Scene, real: Path, is_running: bool) -> None:
    append(real, range(10))
    with scene.running() as run:
        run.settle()
        if is_running:
            with run.paused():
                _copytruncate(real, 10)
                _copytruncate(real, 20)
            run.settle()
    if not is_running:
        _copytruncate(real, 10)
        _copytruncate(real, 20)
    scene.conclude(range(40), proven=rotations(real))


def _copytruncate(real: Path, start: int) -> None:
    append(real, range(start, start + 10))
    newer, older = real.with_name("0.log.1"), real.with_name("0.log.2")
    if newer.exists():
        newer.rename(older)
    shutil.copy(real, newer)
    real.write_bytes(b"")
    append(real, range(start + 10, start + 20)) if start == 20 else None


def test_rotations_behind_links_to_links_are_read(scene: Scene, real: Path) -> None:
    """Docker's way: the name leads to a link in the folder of the pod, which leads to the folder of the container."""
    json = scene.tmp_path / "containers" / "3f2a-json.log"
    json.parent.mkdir()
    real.symlink_to(json)
    append(json, range(10))
    scene.follow()
    append(json, range(10, 20))
    json.rename(json.with_name("3f2a-json.log.1"))
    append(json, range(20, 30))
    scene.conclude(range(30), proven=rotations(json))


# --- links that change ------------------------------------------------------------------------------------------------

SWITCHED = pytest.mark.parametrize(
    "names",
    [
        ("run-1.log", "run-2.log", "run-3.log", "run-14.log"),
        ("app-20260304.log", "app-20260305.log", "app-20260306.log", "app-20260307.log"),
        ("app.log", "app.log-2", "app.log-3", "app.log-4"),
        ("releases/1/out.log", "releases/2/out.log", "releases/3/out.log", "releases/10/out.log"),
        ("2026-03-04/app_04.log", "2026-03-05/app_05.log", "2026-03-06/app_06.log", "2026-03-07/app_07.log"),
    ],
    ids=lambda names: str(names[0]),
)


@SWITCHED
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_all_files_that_a_link_led_to_meanwhile_are_read(
    scene: Scene, names: tuple[str, ...], is_running: bool
) -> None:
    targets = [scene.tmp_path / name for name in names]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    append(scene.tmp_path / "older-0.log", range(1000, 1010))
    append(targets[0], range(10))
    point(scene.log, targets[0])
    with scene.running() as run:
        run.settle()
        if is_running:
            with run.paused():
                _switch(scene.log, targets)
            run.settle()
    if not is_running:
        _switch(scene.log, targets)
    append(targets[-1].parent / "unrelated.log", range(2000, 2010))
    scene.conclude(range(60), proven=targets)


def _switch(link: Path, targets: list[Path]) -> None:
    append(targets[0], range(10, 20))
    for number, target in enumerate(targets[1:], 2):
        append(target, range(10 * number, 10 * number + 10))
        point(link, target)
    append(targets[-1], range(50, 60))


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_a_file_that_took_the_place_of_the_former_target_before_the_link_changed_is_read(
    scene: Scene, is_running: bool
) -> None:
    first, second = scene.tmp_path / "run-1.log", scene.tmp_path / "run-2.log"
    append(first, range(10))
    point(scene.log, first)

    def change() -> None:
        append(first, range(10, 20))
        rotate(first)
        append(first, range(20, 30))
        append(second, range(30, 40))
        point(scene.log, second)

    with scene.running() as run:
        run.settle()
        if is_running:
            with run.paused():
                change()
            run.settle()
    if not is_running:
        change()
    scene.conclude(range(40), proven=[*rotations(first), second])


def test_the_rest_of_the_file_that_a_link_led_to_is_read_from_its_archive(scene: Scene) -> None:
    first, second = scene.tmp_path / "run-1.log", scene.tmp_path / "run-2.log"
    append(first, range(10))
    point(scene.log, first)
    scene.follow()
    append(first, range(10, 20))
    rotated = rotate(first)
    append(second, range(20, 30))
    point(scene.log, second)
    scene.conclude(range(30), proven=[rotated, second])


def test_files_beside_the_target_that_are_followed_themselves_are_read_once(scene: Scene) -> None:
    scene.names = [scene.folder / "*.log"]
    current, targets = scene.folder / "current.log", [scene.folder / f"run-{number}.log" for number in range(4)]
    append(targets[0], range(10))
    point(current, targets[0])
    scene.follow()
    for number, target in enumerate(targets[1:], 1):
        append(target, range(10 * number, 10 * number + 10))
        point(current, target)
    scene.conclude(range(40), proven=targets)


def test_an_archive_that_was_rotated_where_an_older_version_saw_a_link_is_found(scene: Scene, real: Path) -> None:
    """Checkpoints of earlier versions do not say where a link led: it still leads there."""
    append(real, range(10))
    scene.follow()
    saved = scene.state / "checkpoints.json"
    saved.write_text(saved.read_text().replace(f'"place": "{real}"', '"place": ""'))
    append(real, range(10, 20))
    rotated = rotate(real)
    append(real, range(20, 30))
    scene.conclude(range(30), proven=[rotated, real])
