"""Root follows no link by which the owner of a log folder has it read, or delete, a file of somebody else."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from logferry.client.files.content.content import open_regular
from logferry.client.finding import foreign_links
from logferry.client.finding.fifos import open_fifo
from logferry.client.finding.foreign_links import ForeignLink, follow_foreign_links, open_file, open_folder
from logferry.client.finding.preview import preview
from logferry.config import ShipSettings
from logferry.errors import SourceError
from tests.support.shipping import ship_settings

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")

APP: Final = 12_345  # the user that a log belongs to
OTHER: Final = 12_346


@pytest.fixture(autouse=True)
def _not_followed() -> Iterator[None]:
    follow_foreign_links(False)
    yield
    follow_foreign_links(False)


def file_of(path: Path, owner: int, content: str = "secret\n") -> Path:
    """Return a new file of a user."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    os.chown(path, owner, owner)
    return path


def link_of(path: Path, owner: int, target: Path | str) -> Path:
    """Return a new link of a user."""
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target)
    os.lchown(path, owner, owner)
    return path


def read(path: Path) -> str:
    """Return the content of a file as the client opens it."""
    with open(open_file(path)) as file:
        return file.read()


@pytest.mark.parametrize("owner", [0, OTHER])
def test_a_link_to_a_file_of_somebody_else_is_not_followed(tmp_path: Path, owner: int) -> None:
    link = link_of(tmp_path / "logs" / "app.log", APP, file_of(tmp_path / "private" / "shadow", owner))
    with pytest.raises(ForeignLink, match=f"belongs to user {APP} and leads to a file of user {owner}; root follows"):
        read(link)
    with pytest.raises(SourceError, match="--follow-foreign-links"):
        open_regular(link)
    follow_foreign_links(True)
    assert read(link) == "secret\n"


@pytest.mark.parametrize("owner", [0, APP])
def test_a_link_to_a_file_of_its_owner_is_followed(tmp_path: Path, owner: int) -> None:
    """Kubernetes' /var/log/containers: root's link to root's link to root's file."""
    file = file_of(tmp_path / "pods" / "0.log", owner)
    link = link_of(tmp_path / "containers" / "x.log", owner, link_of(tmp_path / "pods" / "current", owner, "0.log"))
    assert read(link) == file.read_text()


def test_each_link_of_a_chain_is_checked(tmp_path: Path) -> None:
    """Root's link to a link of the application, which leads to root's file."""
    secret = file_of(tmp_path / "shadow", 0)
    link = link_of(tmp_path / "app.log", 0, link_of(tmp_path / "current", APP, secret))
    with pytest.raises(ForeignLink, match="'current'"):
        read(link)


def test_a_folder_that_is_exchanged_for_a_link_is_not_followed(tmp_path: Path) -> None:
    file_of(tmp_path / "private" / "app.log", 0)
    folder = link_of(tmp_path / "logs", APP, tmp_path / "private")
    with pytest.raises(ForeignLink, match="leads to a folder of user 0"):
        read(folder / "app.log")
    with pytest.raises(ForeignLink):
        open_folder(folder)


def test_roots_links_to_folders_are_followed(tmp_path: Path) -> None:
    """/var/log/app -> /srv/app/log is what an administrator makes."""
    file_of(tmp_path / "srv" / "app.log", APP)
    os.chown(tmp_path / "srv", APP, APP)
    assert read(link_of(tmp_path / "log", 0, tmp_path / "srv") / "app.log") == "secret\n"
    assert read(tmp_path / "log" / ".." / "srv" / "app.log") == "secret\n"


def test_relative_names_are_followed_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_of(tmp_path / "srv" / "app.log", APP)
    link_of(tmp_path / "app.log", APP, "srv/app.log")
    monkeypatch.chdir(tmp_path)
    assert read(Path("app.log")) == "secret\n"


def test_what_is_missing_or_goes_round_in_circles_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.log")
    with pytest.raises(FileNotFoundError):
        read(link_of(tmp_path / "dangling", 0, "missing"))
    with pytest.raises(OSError, match="symbolic links"):
        read(link_of(tmp_path / "loop", 0, "loop"))


def test_a_link_that_changes_between_the_look_and_the_reading_reveals_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened through a link to a secret, examined when it leads to a harmless file: it is opened again."""
    secret, harmless = file_of(tmp_path / "shadow", 0), file_of(tmp_path / "own", APP, "harmless\n")
    link = link_of(tmp_path / "app.log", APP, secret)
    walk = foreign_links._walk

    def swap(path: str | Path) -> int:
        link.unlink()
        link_of(link, APP, harmless)
        return walk(path)

    monkeypatch.setattr(foreign_links, "_walk", swap)
    assert read(link) == "harmless\n"


def test_a_file_that_is_renamed_while_it_is_opened_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation is not an attack."""
    log = file_of(tmp_path / "app.log", APP)
    is_in_its_folder = foreign_links._is_in_its_folder

    def rotate(fd: int, path: str | Path) -> bool:
        log.rename(tmp_path / "app.log.1")
        return is_in_its_folder(fd, path)

    monkeypatch.setattr(foreign_links, "_is_in_its_folder", rotate)
    assert read(log) == "secret\n"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    secret = file_of(tmp_path / "shadow", 0)
    links = [link_of(tmp_path / "bad", APP, secret), link_of(tmp_path / "good", 0, secret), tmp_path / "missing"]
    before = len(os.listdir("/proc/self/fd"))
    for link in links:
        with contextlib.suppress(OSError):
            read(link)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_fifo_behind_a_foreign_link_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    link = link_of(tmp_path / "input", APP, "fifo")
    with pytest.raises(SourceError, match="belongs to user"):
        open_fifo(str(link), outlives_writers=False)


def test_a_fifo_that_is_exchanged_for_a_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a FIFO any more"):
        open_fifo(str(file_of(tmp_path / "shadow", 0)), outlives_writers=False)


def test_check_config_shows_which_links_are_not_followed(tmp_path: Path) -> None:
    link = link_of(tmp_path / "app.log", APP, file_of(tmp_path / "shadow", 0))
    settings: ShipSettings = ship_settings(link, 9000)
    assert preview(settings.inputs)[0].foreign == [str(link)]
