"""Several servers with a store each: every line is in one of them, whatever fails, and nothing is in two by design.

docs/protocol.md, rule E41. Each test ends in a comparison of the union of the stores with what was written.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.dispatch import main
from logferry.client.delivery.servers import server_choice
from logferry.client.proof.several_reports import asking_all
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import DeliveryAbandoned
from logferry.telemetry.table import Counters
from tests.support.delivery import DeliveryClient, batch
from tests.support.running import numbered_line, wait_until
from tests.support.several_servers import Fleet, fleet
from tests.support.shipping import append, log_line, ship_settings


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, "a", "b") as found:
        yield found


def lines(numbers: Iterable[int]) -> list[bytes]:
    return [numbered_line(number) for number in numbers]


def skipped(data_dir: Path) -> list[tuple[int, int, str, int]]:
    """Return what a ledger says of ranges without lines."""
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as ledger:
        return ledger.execute("SELECT start, end, reason, is_lost FROM losses ORDER BY start").fetchall()


def store_id(data_dir: Path) -> str:
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as ledger:
        return str(ledger.execute("SELECT id FROM store").fetchone()[0])


def test_a_server_takes_over_where_the_other_one_ended_and_back(two: Fleet) -> None:
    """E41."""
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        two.stop("a")
        append(two.log, range(100, 200))
        shipped.wait_for_acks(200)
        shipped.stop()
    assert two.lines("a") == lines(range(100))
    assert two.lines("b") == lines(range(100, 200))
    size = len(two.log.read_bytes()) // 2
    (first, *rest) = skipped(two.tmp_path / "b")
    assert rest == []
    assert first[0] == 0
    assert first[2:] == (f"stored elsewhere: store {store_id(two.tmp_path / 'a')}", 0)
    assert abs(first[1] - size) < 200
    two.start("a")
    append(two.log, range(200, 300))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        shipped.stop()
    assert two.lines("a") == lines([*range(100), *range(200, 300)])
    assert two.lines("b") == lines(range(100, 200))
    verdict = two.verify("a", "b")
    assert (verdict.lines, verdict.stored, verdict.doubled) == (300, 300, [])
    assert verdict.is_proven, verdict


def test_a_client_goes_back_to_the_first_server_when_it_has_been_well_for_a_while(two: Fleet) -> None:
    append(two.log, range(10))
    two.stop("a")
    with two.shipping("a", "b", failback_after=0.5) as shipped:
        shipped.wait_for_acks(10)
        two.start("a")
        number = 10
        while not two.lines("a"):
            append(two.log, [number])
            number += 1
            shipped.wait_for_acks(number)
        shipped.stop()
        assert shipped.counters.lines_retried == 0
    assert two.lines("b") + two.lines("a") == lines(range(number))


def test_a_store_that_was_lost_gets_what_it_had_again_and_nothing_else(two: Fleet) -> None:
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        two.stop("a")
        append(two.log, range(100, 200))
        shipped.wait_for_acks(200)
        shipped.stop()
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    with two.shipping("a", "b"):
        wait_until(lambda: len(two.lines("a")) >= 100, "the new store has what the lost one had")
        append(two.log, range(200, 210))
        wait_until(lambda: len(two.lines("a")) >= 110, "new lines follow")
    assert two.lines("a") == lines([*range(100), *range(200, 210)])
    assert two.lines("b") == lines(range(100, 200))


def test_a_store_that_was_set_back_gets_what_it_lacks_and_nothing_else(two: Fleet) -> None:
    append(two.log, range(50))
    two.batch("a", "b")
    two.stop("a")
    shutil.copytree(two.tmp_path / "a", two.tmp_path / "copy")
    two.start("a")
    append(two.log, range(50, 100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(50)
        two.stop("a")
        append(two.log, range(100, 150))
        shipped.wait_for_acks(100)
        shipped.stop()
    shutil.rmtree(two.tmp_path / "a")
    (two.tmp_path / "copy").rename(two.tmp_path / "a")
    two.start("a")
    with two.shipping("a", "b"):
        wait_until(lambda: len(two.lines("a")) >= 100, "what it lacks is sent again")
        append(two.log, range(150, 160))
        wait_until(lambda: len(two.lines("a")) >= 110, "new lines follow")
    assert two.lines("a") == lines([*range(100), *range(150, 160)])
    assert two.lines("b") == lines(range(100, 150))


def test_a_later_server_that_has_lost_its_store_is_visited_and_gets_it_again(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_choice, "CHECK_INTERVAL_S", 0.05)
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 150))
    two.batch("a", "b")
    two.start("a")
    two.stop("b")
    shutil.rmtree(two.tmp_path / "b")
    two.start("b")
    with two.shipping("a", "b", failback_after=0.2) as shipped:
        wait_until(lambda: len(two.lines("b")) >= 50, "the later server has what it had")
        number = 150
        while len(two.lines("a")) < 120:  # the client is back at the first one
            append(two.log, [number])
            number += 1
            shipped.wait_for_acks(number - 100)
        shipped.stop()
    union = two.lines("a") + two.lines("b")
    assert Counter(union) == Counter(lines(range(number)))
    assert two.lines("b")[:50] == lines(range(100, 150))
    assert two.verify("a", "b").is_proven


def test_quiet_files_stay_where_they_are_also_when_they_are_gone(
    two: Fleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = append(tmp_path / "quiet.log", range(500, 600))
    two.names = [two.log, quiet]
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(200)
        shipped.stop()
    two.stop("a")
    append(two.log, range(100, 150))
    with two.shipping("a", "b", failback_after=0.3) as shipped:
        shipped.wait_for_acks(50)
        quiet.unlink()
        two.start("a")
        number = 150
        while len(two.lines("a")) < 201:  # the client is back
            append(two.log, [number])
            number += 1
            shipped.wait_for_acks(number - 100)
        append(two.log, [number])
        shipped.wait_for_acks(number - 99)
        shipped.stop()
        assert shipped.counters.bytes_lost == 0
    assert "lacks" not in caplog.text
    assert Counter(two.lines("a") + two.lines("b")) == Counter(lines([*range(number + 1), *range(500, 600)]))


def test_quiet_files_stay_where_they_are(two: Fleet) -> None:
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        shipped.stop()
    two.stop("a")
    with two.shipping("a", "b"):
        wait_until(lambda: two.servers["b"].stats.connections_total, "the client is connected")
        append(two.log, [100])
        wait_until(lambda: two.lines("b"), "a line comes")
    assert two.lines("b") == lines([100])


def test_a_batch_run_goes_on_at_the_other_server_and_knows_what_the_first_has(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    again = two.batch("a", "b")
    assert again.counters.lines_stored_before == 100
    append(two.log, range(100, 150))
    assert two.batch("a", "b").counters.lines_acked == 50
    assert two.lines("b") == lines(range(100, 150))


def test_when_all_fail_a_batch_run_gives_up_as_with_one(two: Fleet) -> None:
    append(two.log, range(10))
    two.stop("a", "b")
    with two.shipping("a", "b", mode="batch") as shipped, pytest.raises(DeliveryAbandoned, match="5 failures in a row"):
        shipped.result()
    two.start("b")
    two.batch("a", "b")
    assert two.lines("b") == lines(range(10))


def test_one_server_of_before_is_one_of_several_now(two: Fleet) -> None:
    append(two.log, range(100))
    with two.shipping(server=(), server_host="127.0.0.1", server_port=two.servers["a"].port) as shipped:
        shipped.wait_for_acks(100)
        shipped.stop()
    two.stop("a")
    append(two.log, range(100, 120))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(20)
        shipped.stop()
    assert two.lines("b") == lines(range(100, 120))


def test_what_a_server_has_that_is_not_one_of_them_any_more_is_sent_again(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.start("c")
    two.batch("b", "c")
    assert two.lines("b") == lines(range(100))


def test_a_server_that_cannot_be_asked_is_named_and_its_part_is_not_proven(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 150))
    two.batch("a", "b")
    verdict = two.verify("a", "b")
    assert not verdict.is_whole
    (missing,) = verdict.missing
    assert (missing.lines, missing.reason) == (100, f"{two.address('a')} has it, and could not be asked")
    (missing,) = two.verify("b").missing
    assert missing.reason == f"stored elsewhere: store {store_id(two.tmp_path / 'a')}"


def test_a_repair_that_could_not_ask_a_server_does_not_exit_as_if_nothing_were_damaged(
    two: Fleet, capfd: pytest.CaptureFixture[str]
) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    servers = [word for name in ("a", "b") for word in ("--server", two.address(name))]
    words = ["repair", "--log-file", str(two.log), *servers, "--state-dir", str(two.state)]
    assert main(words) == 0
    two.stop("b")
    assert main(words) == 1
    assert f"{two.address('b')} could not be asked" in capfd.readouterr().err


def test_what_two_servers_have_because_an_ack_was_lost_is_known_exactly(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    shutil.copytree(two.state, two.tmp_path / "before")  # as if the answers to all that follows had been lost
    append(two.log, range(100, 130))
    two.batch("a", "b")
    two.stop("a")
    shutil.rmtree(two.state)
    (two.tmp_path / "before").rename(two.state)
    append(two.log, range(130, 150))
    two.batch("a", "b")
    two.start("a")
    append(two.log, range(150, 160))
    two.batch("a", "b")
    assert two.lines("a") == lines([*range(130), *range(150, 160)])
    assert two.lines("b") == lines(range(100, 150))
    verdict = two.verify("a", "b")
    assert (verdict.lines, verdict.stored, verdict.missing, verdict.repeated) == (160, 160, [], 0)
    (doubled,) = verdict.doubled
    ends = [sum(map(len, map(log_line, range(number)))) for number in (100, 130)]
    assert [doubled.start, doubled.end] == ends
    assert doubled.lines == 30
    assert set(doubled.servers) == {two.address("a"), two.address("b")}
    assert verdict.is_proven


def test_what_a_lost_store_had_is_missing_until_it_is_sent_again(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 150))
    two.batch("a", "b")
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    verdict = two.verify("a", "b")
    (missing,) = verdict.missing
    assert (missing.lines, verdict.stored) == (100, 50)
    assert "had it" in missing.reason
    two.batch("a", "b")
    verdict = two.verify("a", "b")
    assert verdict.is_proven, verdict
    assert two.lines("a") == lines(range(100))


def test_a_rotated_file_that_is_gone_is_told_if_the_store_that_had_it_is_lost(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 150))
    two.batch("a", "b")
    two.start("a")
    two.log.unlink()
    append(two.log, range(500, 510))
    two.batch("a", "b")
    assert two.verify("a", "b").is_proven
    two.stop("a")
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    verdict = two.verify("a", "b")
    assert not verdict.is_whole
    assert any("had it" in loss.reason or "stored elsewhere" in loss.reason for loss in verdict.former[0].losses)


def ship_and_rotate(two: Fleet) -> int:
    """Ship to a, then b, and delete the file, which was rotated; return where b began."""
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        two.stop("a")
        append(two.log, range(100, 150))
        shipped.wait_for_acks(150)
        two.log.rename(two.tmp_path / "app.log.1")
        append(two.log, range(150, 160))
        shipped.wait_for_acks(160)
        shipped.stop()
    (two.tmp_path / "app.log.1").unlink()
    return sum(map(len, map(log_line, range(100))))


def go_on_at(two: Fleet, name: str, caplog: pytest.LogCaptureFixture) -> Counters:
    """Ship some more lines to a server, once it was asked about all sources; return what the client has counted."""
    caplog.clear()
    append(two.log, range(160, 170))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(10)
        append(two.log, range(170, 180))
        shipped.wait_for_acks(20)
        shipped.stop()
        assert len(two.lines(name)) >= 20
        return shipped.counters


def test_what_another_server_has_of_a_file_that_is_gone_is_not_lost(
    two: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    ship_and_rotate(two)
    two.start("a")
    assert go_on_at(two, "a", caplog).bytes_lost == 0
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
    assert two.verify("a", "b").is_proven


def test_of_a_file_that_is_gone_only_what_no_server_has_is_lost_once(
    two: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    end = ship_and_rotate(two)
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    assert go_on_at(two, "a", caplog).bytes_lost == end
    assert f"lacks {end} bytes that were acked before" in caplog.text
    assert f"bytes 0 to {end} are lost" in caplog.text
    (loss,) = two.verify("a", "b").former[0].losses
    assert (loss.start, loss.end) == (0, end)


def the_source(two: Fleet) -> str:
    (source,) = Checkpoints(two.state, read_only=True).known_ids()
    return source


def open_as_somebody_else(two: Fleet, name: str, numbers: Iterable[int]) -> None:
    """Open the source of the log at a server that does not know it, and send lines with the offsets of the log."""
    source, payload = the_source(two), lines(numbers)
    with DeliveryClient(two.servers[name], client="somebody else", source=source) as client:
        client.send(batch(payload, start=0, end=two.log.stat().st_size, source=source))
        assert client.answer_after_alive()["committed"]


def test_what_somebody_else_has_sent_under_the_id_of_a_source_proves_nothing(two: Fleet) -> None:
    """A report, which everybody may ask for, has the offsets, lines and CRC-32 that others need to look the same."""
    append(two.log, range(100))
    two.batch("a", "b")
    open_as_somebody_else(two, "b", range(100))
    verdict = two.verify("a", "b")
    assert (verdict.stored, verdict.doubled, verdict.is_proven) == (100, [], True)
    two.stop("a")
    assert not two.verify("a", "b").is_proven
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    open_as_somebody_else(two, "a", range(100))
    assert not two.verify("a", "b").is_proven
    verdict = two.verify("a")
    assert verdict.problem == f"what the server has of source {the_source(two)} belongs to another client"


@pytest.mark.parametrize("others", [range(100), range(7)])
def test_what_somebody_else_says_of_a_quiet_file_does_not_keep_it_from_a_store(
    two: Fleet, others: Iterable[int]
) -> None:
    """Rule E33: one server is lost, and a source of that ID opened at the next one that has its address."""
    append(two.log, range(100))
    with two.shipping("a", "b") as shipped:
        shipped.wait_for_acks(100)
        two.stop("a")
        append(two.log, range(100, 110))
        shipped.wait_for_acks(110)
        shipped.stop()
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    open_as_somebody_else(two, "a", others)
    with two.shipping("a", "b"):
        wait_until(lambda: set(lines(range(110))) <= set(two.lines("a")), "the new store gets the file")


def test_a_store_that_took_over_from_a_lost_one_is_believed_about_a_quiet_file(
    two: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    """Its acks were lost, and the store that it names as the one with the beginning is lost as well."""
    append(two.log, range(100))
    two.batch("a", "b")
    shutil.copytree(two.state, two.tmp_path / "before")
    two.stop("a")
    append(two.log, range(100, 110))
    two.batch("a", "b")
    shutil.rmtree(two.state)
    (two.tmp_path / "before").rename(two.state)
    shutil.rmtree(two.tmp_path / "a")
    two.start("a")
    two.stop("b")
    two.batch("a", "b")
    two.start("b")
    two.log.rename(two.tmp_path / "app.log.1")
    append(two.log, range(110, 111))
    with two.shipping("b", "a") as shipped:
        shipped.wait_for_acks(1)
        append(two.log, range(111, 112))
        shipped.wait_for_acks(2)
        shipped.stop()
    assert "new source" not in caplog.text
    assert two.verify("a", "b").is_proven


def test_which_lines_differ_is_found_out_at_the_server_that_has_them(two: Fleet) -> None:
    append(two.log, range(30))
    two.batch("a", "b")
    source, end = the_source(two), sum(map(len, map(log_line, range(20))))
    client_id = Checkpoints(two.state, read_only=True).client_id
    with DeliveryClient(two.servers["b"], client=client_id, source=source) as client:
        client.send(batch(lines(range(20)), start=0, end=end, source=source))
        assert client.answer_after_alive()["committed"]
    (segment,) = (two.tmp_path / "b").glob("segments/**/*.ndjson")
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"line 5", b"line X"))
    verdict = two.verify("a", "b")
    assert [(line.kind, line.first, line.last) for line in verdict.wrong_lines] == [("altered", 6, 6)]


def test_a_file_of_which_two_servers_had_a_part_each_is_stored_twice_once_the_state_is_lost(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 150))
    two.batch("a", "b")
    two.start("a")
    shutil.rmtree(two.state)
    two.batch("a", "b")
    assert len(two.lines("a")) == 250
    verdict = two.verify("a", "b")
    assert (verdict.stored, verdict.repeated, verdict.times_stored, verdict.is_proven) == (150, 150, 2, False)


def test_a_server_with_two_names_has_nothing_twice(two: Fleet) -> None:
    append(two.log, range(100))
    two.batch("a", "b")
    (address,) = two.addresses("a")
    servers = (address._replace(host="localhost"), address, *two.addresses("b"))
    two.batch("a", "b", server=servers)
    checkpoints = Checkpoints(two.state, read_only=True)
    with asking_all(ship_settings(two.log, 1, server=servers), checkpoints) as reports:
        verdict = verify(two.log, checkpoints, reports)
    assert (verdict.stored, verdict.repeated, verdict.doubled) == (100, 0, [])
    assert verdict.is_proven


def test_fifty_clients_spread_over_three_servers(tmp_path: Path) -> None:
    with fleet(tmp_path, "a", "b", "c") as three:
        for number in range(50):
            three.state = tmp_path / f"state-{number}"
            three.log = append(tmp_path / f"{number}.log", [number])
            three.batch("a", "b", "c", server_policy="spread")
        found = Counter(line for name in "abc" for line in three.lines(name))
        assert found == Counter(lines(range(50)))
        assert all(len(three.lines(name)) >= 7 for name in "abc")


def set_back(two: Fleet, name: str, copy: str, **settings: Any) -> None:
    """Set a server that is stopped back to a copy of its data folder, and start it."""
    shutil.rmtree(two.tmp_path / name)
    shutil.copytree(two.tmp_path / copy, two.tmp_path / name)
    two.start(name, **settings)


def keep_copy(two: Fleet, name: str, copy: str) -> None:
    """Stop a server, copy its data folder, and start it again."""
    two.stop(name)
    shutil.copytree(two.tmp_path / name, two.tmp_path / copy)
    two.start(name)


def ship_and_keep_a_copy_of_b(two: Fleet) -> None:
    """Ship lines 0 to 99 to a, and 100 to 149 to b, which has a copy from after the first twenty of them; both run."""
    append(two.log, range(100))
    two.batch("a", "b")
    two.stop("a")
    append(two.log, range(100, 120))
    two.batch("a", "b")
    keep_copy(two, "b", "b-before")
    append(two.log, range(120, 150))
    two.batch("a", "b")
    two.start("a")


def learn_that_b_was_set_back(two: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """Set b back to its copy, and let the client see that while b can store nothing; both servers are stopped."""
    set_back(two, "b", "b-before", min_free_bytes=1 << 60)
    with two.shipping("a", "b") as shipped:
        wait_until(lambda: "lacks" in caplog.text, "the client knows what b has")
        shipped.stop()
    two.stop("b")


def test_when_both_stores_were_set_back_each_gets_what_it_lacks(two: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    """The first one skips what the second one had, and has lost; it is the same source all the same."""
    ship_and_keep_a_copy_of_b(two)
    append(two.log, range(150, 200))
    two.batch("a", "b")
    keep_copy(two, "a", "a-before")
    two.stop("a")
    append(two.log, range(200, 220))
    two.batch("a", "b")
    two.start("a")
    append(two.log, range(220, 250))
    two.batch("a", "b")
    two.stop("a", "b")
    learn_that_b_was_set_back(two, caplog)
    set_back(two, "a", "a-before")
    append(two.log, range(250, 260))
    two.batch("a", "b")
    two.stop("a")
    two.start("b")
    append(two.log, range(260, 270))
    two.batch("a", "b")
    two.start("a")
    assert Counter(two.lines("a")) + Counter(two.lines("b")) == Counter(lines(range(270)))
    assert two.verify("a", "b").is_proven


def test_a_visit_that_was_cut_off_is_made_again(
    two: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the later server has lost is not forgotten because the client has seen that, and could not send it then."""
    ship_and_keep_a_copy_of_b(two)
    append(two.log, range(150, 155))
    two.batch("a", "b")
    two.stop("a", "b")
    learn_that_b_was_set_back(two, caplog)
    two.start("a")
    append(two.log, range(155, 160))
    two.batch("a", "b")
    two.start("b")
    monkeypatch.setattr(server_choice, "CHECK_INTERVAL_S", 0.05)
    with two.shipping("a", "b", failback_after=0.2) as shipped:
        wait_until(lambda: len(two.lines("a")) + len(two.lines("b")) >= 160, "every line is stored again")
        shipped.stop()
    assert Counter(two.lines("a") + two.lines("b")) == Counter(lines(range(160)))
    assert two.verify("a", "b").is_proven
