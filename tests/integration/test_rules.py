"""An upgrade that reads lines by new rules: what the rules before shipped is verified, resumed and repaired by those.

Rule F37. The plain format stands for all formats.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.proof.verify import UNKNOWN
from logferry.client.readers import input_rules
from logferry.client.readers.rerender import rerender, rerender_as_stored
from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from tests.support.events import checkpoint_of, prove
from tests.support.running import RunningServer
from tests.support.shipping import once, shipping, the_segment

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

# Its level is MAIN by rules 1, and INFO by rules 2.
LINE = b"2026-03-04 11:12:13 [main] INFO line %d\n"

AsVersion = Callable[[int], None]


@pytest.fixture
def as_version(monkeypatch: pytest.MonkeyPatch) -> AsVersion:
    """Have the client ship what is new by certain rules, as the version did that had them."""
    return lambda rules: monkeypatch.setattr(input_rules, "CURRENT_RULES", rules)


def ship(log: Path, server: RunningServer, folder: Path, numbers: range) -> None:
    """Append lines to a log and run a batch."""
    with log.open("ab") as file:
        file.writelines(LINE % number for number in numbers)
    with shipping(log, server.port, **once(folder)) as run:
        assert run.result().problems == ()


def assert_proven(log: Path, server: RunningServer, folder: Path, count: int, of_rules_1: int) -> None:
    """Every line is stored once, so many of them by rules 1, and `verify` agrees."""
    (verdict,) = prove(server.port, folder / "state", log)
    assert (verdict.is_proven, verdict.stored) == (True, count), verdict
    stored = server.stored_lines()
    assert len(stored) == count
    assert all(b'line %d"' % number in line for number, line in enumerate(stored))
    assert sum(b'"level": "MAIN"' in line for line in stored) == of_rules_1


def rules_of(log: Path, folder: Path) -> list[int]:
    return [spec.rules for _, spec in checkpoint_of(folder / "state", log).renderings]


def test_what_older_rules_shipped_stays_and_is_verified_and_repaired(
    tmp_path: Path, server: RunningServer, as_version: AsVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F37."""
    log = tmp_path / "app.log"
    as_version(1)
    ship(log, server, tmp_path, range(10))
    as_version(CURRENT_RULES)
    assert_proven(log, server, tmp_path, 10, 10)
    ship(log, server, tmp_path, range(10, 15))
    assert rules_of(log, tmp_path) == [1, CURRENT_RULES]
    assert_proven(log, server, tmp_path, 15, 10)

    segment = the_segment(server)
    segment.write_bytes(segment.read_bytes().replace(b"line 3", b"LINE 3").replace(b"line 12", b"LINE 12"))
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))
    where = ("--server-host", "127.0.0.1", "--server-port", str(server.port))
    assert main(["repair", "--log-level", "warning", "--log-file", str(log), *where]) == 0
    assert_proven(log, server, tmp_path, 15, 10)


@pytest.mark.parametrize("versions", [(1, 1), (1, CURRENT_RULES), (CURRENT_RULES, CURRENT_RULES)])
@pytest.mark.parametrize("known", [0, 10])
def test_what_was_stored_and_not_yet_in_a_checkpoint_is_known_whichever_rules_shipped_it(
    tmp_path: Path, server: RunningServer, as_version: AsVersion, versions: tuple[int, int], known: int
) -> None:
    """A client that is killed has not saved its last acks; the next one may be of the next version."""
    log, state, kept = tmp_path / "app.log", tmp_path / "state", tmp_path / "kept"
    as_version(1)
    ship(log, server, tmp_path, range(max(known, 1)))
    shutil.copytree(state, kept)
    shipped = max(known, 1)
    of_rules_1 = shipped
    for version in versions:
        as_version(version)
        ship(log, server, tmp_path, range(shipped, shipped + 5))
        shipped += 5
        of_rules_1 += 5 * (version == 1)
    shutil.rmtree(state)
    shutil.copytree(kept, state)
    assert_proven(log, server, tmp_path, shipped, of_rules_1)
    ship(log, server, tmp_path, range(shipped, shipped + 5))
    assert_proven(log, server, tmp_path, shipped + 5, of_rules_1 + 5 * (versions[-1] == 1))


@pytest.mark.parametrize("rules", range(1, CURRENT_RULES + 1))
def test_what_has_no_rendering_in_its_checkpoint_is_compared_by_all_rules(tmp_path: Path, rules: int) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(LINE % number for number in range(10)))
    file = SourceFile(log, max_line_bytes=1000)
    stored = rerender(file, file.readable_end, [(0, RenderSpec(rules=rules))])
    file.rewind(0)
    found = rerender_as_stored(file, file.readable_end, UNKNOWN, (stored.lines, stored.crc32))
    assert found == stored
    file.rewind(0)
    assert rerender_as_stored(file, file.readable_end, UNKNOWN, (10, 7)).lines == 10
    assert file.offset == file.readable_end
    file.close()
