"""What root ships of names that are links: files of the links' owners, in both modes, and no secret of anybody else."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from logferry.client.finding import foreign_links
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.batch_file import PlannedFile
from logferry.errors import SourceError
from tests.support.following import Scene
from tests.support.running import numbered_line, wait_until
from tests.support.shipping import append, shipping

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")

APP: Final = 12_345  # the user whose folder it is
SECRET: Final = range(900, 910)
OWN: Final = range(10)


@pytest.fixture(autouse=True)
def _not_followed() -> Iterator[None]:
    foreign_links._policy.follows = False
    yield
    foreign_links._policy.follows = False


@pytest.fixture
def secret(scene: Scene) -> Path:
    """Return a log of root in a folder that only root may enter; `scene.log` is to be a link of APP."""
    os.chown(scene.folder, APP, APP)
    (scene.folder / "sec").mkdir(mode=0o700)
    path = append(scene.folder / "sec" / "shadow", SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def own(scene: Scene) -> Path:
    """Return a log of APP, elsewhere."""
    (scene.tmp_path / "own").mkdir()
    path = append(scene.tmp_path / "own" / "0.log", OWN)
    os.chown(path, APP, APP)
    return path


def point(link: Path, target: Path, owner: int = APP) -> None:
    """Point a link of a user to `target`, atomically."""
    aside = link.with_name(".link-in-the-making")
    aside.symlink_to(target)
    os.lchown(aside, owner, owner)
    aside.rename(link)


def exchanging(link: Path, shown: Path, led_to: Path) -> Callable[[str | Path], int]:
    """Return a `_walk` during which the link leads to what may be `shown`, and to something else at other times."""
    walk = foreign_links._walk

    def exchanged(path: str | Path) -> int:
        point(link, shown)
        try:
            return walk(path)
        finally:
            point(link, led_to)

    return exchanged


def ship_once(scene: Scene, *others: Path) -> str:
    """Run a client in batch mode; return what it could not read."""
    with shipping([scene.log, *others], scene.server.port, mode="batch", state_dir=scene.state) as run:
        try:
            return "; ".join(run.result().problems)
        except SourceError as error:  # there is nothing else to read
            return str(error)


def test_batch_does_not_ship_what_a_link_of_another_user_leads_to(
    scene: Scene, secret: Path, own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    point(scene.log, secret)
    assert "belongs to user 12345 and leads to a file of user 0" in ship_once(scene, own)
    assert scene.server.stored_lines() == list(map(numbered_line, OWN))
    assert sum("belongs to user" in record.getMessage() for record in caplog.records) == 1


def test_batch_ships_nothing_of_a_folder_that_is_exchanged_for_a_link(scene: Scene, secret: Path) -> None:
    point(scene.folder / "logs", secret.parent)
    scene.folder = scene.folder / "logs"
    secret.rename(secret.parent / "app.log")
    assert "leads to a folder of user 0" in ship_once(scene)
    assert scene.server.stored_lines() == []


def test_batch_ships_nothing_through_a_link_that_is_exchanged_during_the_check(
    scene: Scene, secret: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point(scene.log, secret)
    monkeypatch.setattr(foreign_links, "_walk", exchanging(scene.log, own, secret))
    assert ship_once(scene)
    assert scene.server.stored_lines() == []


def test_batch_does_not_read_what_replaces_a_file_while_it_is_opened(
    scene: Scene, own: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = PlannedFile.find

    def replaced(planned: PlannedFile, folders: FolderListings) -> Path:
        place = find(planned, folders)
        secret.rename(place)
        return place

    monkeypatch.setattr(PlannedFile, "find", replaced)
    point(scene.log, own)
    assert "replaced while it was opened" in ship_once(scene)
    assert scene.server.stored_lines() == []


@pytest.mark.parametrize("owner", [0, APP])
def test_batch_ships_through_chains_of_one_owner(scene: Scene, own: Path, owner: int) -> None:
    os.chown(own, owner, owner)
    point(own.with_name("current"), own, owner)
    point(scene.log, own.with_name("current"), owner)
    assert not ship_once(scene)
    assert scene.server.stored_lines() == list(map(numbered_line, OWN))


def test_a_followed_link_is_refused_until_it_leads_to_a_file_of_its_owner(
    scene: Scene, secret: Path, own: Path, caplog: pytest.LogCaptureFixture
) -> None:
    point(scene.log, secret)
    other = append(scene.folder / "other.log", range(100, 110))
    scene.names = [scene.log, other]
    with scene.running() as run:
        wait_until(lambda: run.shipping.counters.lines_acked >= 10, "the other file is shipped")
        run.look()
        assert sum("belongs to user" in record.getMessage() for record in caplog.records) == 1
        assert any("--follow-foreign-links" in report.problem for report in run.reader.report())
        point(scene.log, own)
        run.settle()
    scene.conclude([*OWN, *range(100, 110)])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_what_a_log_is_exchanged_for_is_not_read_nor_what_is_beside_it(
    scene: Scene, secret: Path, is_running: bool
) -> None:
    """The log is read first; then it is a link, and beside the link's target there are files like rotated ones."""
    append(scene.log, OWN)
    os.chown(scene.log, APP, APP)
    with scene.running() as run:
        run.settle()
        if is_running:
            _exchange(scene.log, secret)
            run.look()
    if not is_running:
        _exchange(scene.log, secret)
    with scene.running() as run:
        run.look()
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, OWN))


def _exchange(log: Path, secret: Path) -> None:
    append(secret.with_name("shadow.1"), range(910, 920))
    log.rename(log.with_name("app.log.1"))
    point(log, secret)


def test_files_of_others_beside_what_a_link_leads_to_are_not_read(scene: Scene, own: Path) -> None:
    """A link to an own file in a folder of somebody else, where `0.log.1` is not the rotated file that it seems."""
    os.chown(scene.folder, APP, APP)
    point(scene.log, own)
    with scene.running() as run:
        run.settle()
    own.rename(own.with_name("0.log.2"))
    append(own.with_name("0.log.1"), SECRET)
    append(own, range(10, 20))
    os.chown(own, APP, APP)
    with scene.running() as run:
        wait_until(lambda: run.shipping.counters.lines_acked >= 10, "what is new is shipped")
        run.look()
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, range(20)))


@pytest.mark.parametrize("before", [True, False], ids=["is opened", "is to be checked"])
def test_a_followed_link_that_is_exchanged_all_the_time_reveals_nothing(
    scene: Scene, secret: Path, own: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    point(scene.log, own)
    shown, led_to = (own, secret) if before else (secret, own)
    monkeypatch.setattr(foreign_links, "_walk", exchanging(scene.log, shown, led_to))
    with scene.running() as run:
        for _ in range(5):
            point(scene.log, led_to)
            run.look()
    assert not set(scene.server.stored_lines()) & set(map(numbered_line, SECRET))


def test_a_rotated_name_that_is_a_link_is_not_followed(scene: Scene, secret: Path) -> None:
    append(scene.log, OWN)
    os.chown(scene.log, APP, APP)
    with scene.running() as run:
        run.settle()
    scene.log.rename(scene.log.with_name("app.log.2"))
    append(scene.log, range(10, 20))
    point(scene.log.with_name("app.log.1"), secret)
    with scene.running() as run:
        wait_until(lambda: run.shipping.counters.lines_acked >= 10, "what is new is shipped")
        run.look()
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, range(20)))
