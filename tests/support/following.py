"""Following files in a test: one server, one memory of the client, any number of runs, and a reckoning at the end."""

import gzip
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.readers.follow import reader as follow_reader
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.losses_file import KnownLoss, read_losses
from logferry.model.chunk import Chunk
from logferry.protocol.messages.reports import RecordedLoss
from tests.support.running import RunningServer, numbered_line, wait_until
from tests.support.shipping import Shipping, losses, shipping

# So many looks in a row without anything to read: there is nothing to read.
_QUIET_POLLS: Final = 3

# Creating so many files takes no time, and gets hold of any inode that is free on a file system of the usual kind.
_INODES_TRIED: Final = 2000


class Observed(FollowReader):
    """A reader that looks but does not read while it is paused, and that says how often it has looked in vain."""

    def __init__(self, *args: Any, is_paused: bool = False, **options: Any) -> None:
        self.is_paused = is_paused
        self.polls = 0
        self.quiet_polls = 0
        self.after_read: Callable[[Chunk | None], None] = lambda chunk: None  # this and the next in the client's thread
        self.after_poll: Callable[[], None] = lambda: None
        super().__init__(*args, **options)

    @property
    def patience_s(self) -> float:
        """None: it is asked all the time, so that the end of all looking is seen at once."""
        return 0.0

    def poll(self) -> None:
        """Look, and count it."""
        super().poll()
        self.polls += 1
        self.quiet_polls = self.quiet_polls + 1 if self._is_acked else 0  # it may be an ack that it waits for
        self.after_poll()

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Read, unless paused."""
        if self.is_paused:
            return None
        chunk = super().read(max_lines=max_lines)
        if chunk is not None or self.is_busy:
            self.quiet_polls = 0
        self.after_read(chunk)
        return chunk

    @property
    def is_settled(self) -> bool:
        """Whether all there is was read and acked, and nothing is in doubt."""
        return self.quiet_polls >= _QUIET_POLLS and not self.is_busy and self._is_acked

    @property
    def _is_acked(self) -> bool:
        return all(found.offset == found.committed and "copy" not in found.problem for found in self.report())


class Run:
    """A client that follows, in a thread, and its reader."""

    def __init__(self, shipping: Shipping, reader: Observed) -> None:
        self.shipping = shipping
        self.reader = reader

    def look(self) -> None:
        """Wait until it has looked at everything that has changed until now."""
        begun = self.reader.polls
        self._wait(lambda: self.reader.polls >= begun + 2, "the client has looked")

    def settle(self) -> None:
        """Wait until it has delivered everything that there is now."""
        self.reader.quiet_polls = 0
        self._wait(lambda: self.reader.is_settled, "all is delivered")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it look, but not read, for the length of a `with`; what it has read by then is of before."""
        self.reader.is_paused = True
        self.look()
        yield
        self.look()
        self.reader.is_paused = False

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(lambda: self.shipping.is_over or condition(), what)
        if self.shipping.is_over:
            self.shipping.result()
            raise AssertionError("the client has ended")


class Scene:
    """A folder of log files, a server, and a client with a memory that is started as often as need be."""

    def __init__(self, tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tmp_path = tmp_path
        self.server = server
        self.folder = tmp_path / "logs"
        self.folder.mkdir()
        self.state = tmp_path / "state"
        self.names: Sequence[Path | str] = [self.folder / "app.log"]
        self.settings: dict[str, Any] = {}  # of the client, in every run
        self.reader_options: dict[str, Any] = {}
        self.reader: Observed | None = None
        monkeypatch.setattr(follow_reader, "FollowReader", self._open_reader)

    @property
    def log(self) -> Path:
        """The file that is followed unless a test says otherwise."""
        return self.folder / "app.log"

    def _open_reader(self, *args: Any, **options: Any) -> Observed:
        self.reader = Observed(*args, **{**options, **self.reader_options})
        return self.reader

    @contextmanager
    def running(self, **changes: Any) -> Iterator[Run]:
        """Follow `names` for the length of a `with`; at its end what was read is delivered."""
        self.reader = None
        settings = {
            "ack": "auto",
            "state_dir": self.state,
            "mode": "continuous",
            "poll_interval": 0.005,
            **self.settings,
            **changes,
        }
        port = settings.pop("port", self.server.port)
        with shipping(self.names, port, **settings) as shipped:
            wait_until(lambda: shipped.is_over or self.reader, "the client has begun")
            if self.reader is None:
                shipped.result()
            assert self.reader is not None
            yield Run(shipped, self.reader)
            if not shipped.is_over:
                shipped.stop()

    def follow(self, **changes: Any) -> None:
        """Run a client until all is delivered."""
        with self.running(**changes) as run:
            run.settle()

    def verdict(self, path: Path) -> Verdict:
        """Verify one file."""
        checkpoints = Checkpoints(self.state, read_only=True)
        reports = ReportClient(
            Endpoint(self.server.host, self.server.port),
            client_id=checkpoints.client_id,
            client_host="test",
            connect_timeout_s=5,
            answer_timeout_s=5,
        )
        try:
            return verify(path, checkpoints, reports)
        finally:
            reports.close()

    def windows(self) -> list[KnownLoss]:
        """Return the unknown windows that the client knows, without those that turned out to be none."""
        return [known for known in read_losses(self.state).losses if known.is_window and not known.is_over]

    def conclude(
        self,
        numbers: Iterable[int],
        *,
        proven: Iterable[Path] = (),
        lost: Callable[[RecordedLoss], bool] | None = None,
        unknown: Sequence[int] = (),
    ) -> None:
        """Fail unless exactly these lines are stored, also after one more run, and these files are proven to be.

        The ledger must have a loss for which `lost` is true, and no others; none at all without it. The client must
        report an unknown window at each of the offsets `unknown`, and no others: nobody reads false alarms.
        """
        self.follow()
        self.reckon(map(numbered_line, numbers), proven=proven, lost=lost, unknown=unknown)

    def reckon(
        self,
        lines: Iterable[bytes],
        *,
        proven: Iterable[Path] = (),
        lost: Callable[[RecordedLoss], bool] | None = None,
        unknown: Sequence[int] = (),
    ) -> None:
        """Fail unless exactly these lines are stored, as `conclude` does, but run no client."""
        expected, stored = Counter(lines), Counter(self.server.stored_lines())
        assert expected - stored == Counter(), "missing"
        assert stored - expected == Counter(), "more often than once, or never written"
        for path in proven:
            verdict = self.verdict(path)
            assert verdict.is_proven, verdict
        found = losses(self.server)
        assert bool(found) == bool(lost), found
        assert all(map(lost, found)) if lost else True, found
        assert sorted(window.start for window in self.windows()) == sorted(unknown)


def settle_copies_at_once(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.05) -> None:
    """Do not wait long for the truncation that would make a copy of what looks like one."""
    monkeypatch.setattr("logferry.client.readers.follow.followed.copies.COPY_SETTLE_S", seconds)


def compress(path: Path) -> Path:
    """Compress a file as gzip does: the archive has its time stamp, the file is gone."""
    archive = path.with_name(f"{path.name}.gz")
    with path.open("rb") as plain, gzip.open(archive, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    shutil.copystat(path, archive)
    path.unlink()
    return archive


def created_with_inode_of(path: Path) -> Path:
    """Delete a file and create an empty one of the same name that has got its inode."""
    inode = path.stat().st_ino
    path.unlink()
    tried = []
    for number in range(_INODES_TRIED):
        created = path.with_name(f".inode-{number}")  # beside it: another folder's inodes are elsewhere on the disk
        created.touch()
        if created.stat().st_ino == inode:
            created.rename(path)
            break
        tried.append(created)
    for created in tried:
        created.unlink()
    if path.exists():
        return path
    pytest.skip("this file system does not use inodes again")
