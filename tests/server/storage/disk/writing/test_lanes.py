"""Senders take turns at the writer: nobody waits for all that others have submitted, whatever it needs."""

from collections.abc import Sequence

from logferry.protocol.messages.requests import Open
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.writing.lanes import MAX_GROUP, Lanes
from logferry.server.storage.log_names import NO_LOG, LogName, most_folders, proposed_folders
from logferry.server.storage.owners import of_client

KNOWN = LogName("10.0.0.7", "")


def line(sender: int, log: LogName = KNOWN) -> Delivery:
    return Delivery(log, [b"{}\n"], 1, 3, sender=sender)


def new_log(sender: int, number: int) -> Delivery:
    return line(sender, LogName(f"new-{sender}", str(number)))


def opening(sender: int, number: int) -> Delivery:
    request = SourceRequest(Open(f"s{sender}-{number}", "/p", 0), sender, of_client("owner"), "host")
    return Delivery(NO_LOG, [], 0, 0, source_request=request, sender=sender)


def lanes(max_logs: int = 4096, *, names: int = 3) -> Lanes:
    return Lanes(max_logs=max_logs, new_names=lambda delivery: names if delivery.log != KNOWN else 0)


def groups_until(waiting: Lanes, arrived: Sequence[Delivery], wanted: Delivery) -> int:
    """Return the number of the first group that has `wanted`."""
    for number in range(1, 1000):
        if wanted in waiting.take(arrived):
            return number
        arrived = ()
    raise AssertionError("it is in no group")


def test_lines_for_an_open_file_are_in_the_next_group_whatever_eight_others_have_submitted() -> None:
    flood = [new_log(sender, number) for number in range(1000) for sender in range(8)]
    honest = line(99)
    assert groups_until(lanes(), [*flood, honest], honest) == 1


def test_lines_are_in_the_next_group_however_many_senders_wait_with_new_files() -> None:
    waiting, honest = lanes(), line(9999)
    waiting.take([new_log(sender, number) for number in range(4) for sender in range(1500)])
    assert groups_until(waiting, [honest], honest) == 1


def test_a_new_file_waits_for_a_part_of_what_others_need_and_not_for_all_of_it() -> None:
    flood = [new_log(sender, number) for number in range(1000) for sender in range(8)]
    honest = new_log(99, 0)
    assert groups_until(lanes(), [*flood, honest], honest) == 1


def test_openings_and_notes_delay_no_lines_and_no_other_openings() -> None:
    flood = [opening(sender, number) for number in range(1000) for sender in range(8)]
    honest = [opening(99, 0), line(99)]
    assert groups_until(lanes(), [*flood, *honest], honest[1]) == 1


def test_a_group_has_a_bounded_amount_of_each_work() -> None:
    waiting = lanes()
    flood = [work(sender, number) for number in range(1000) for sender in range(8) for work in (new_log, opening)]
    group = waiting.take([*flood, *(line(sender) for sender in range(8) for _ in range(1000))])
    assert len(group) <= MAX_GROUP
    assert len({each.log for each in group if each.pieces} - {KNOWN}) <= 16
    assert len([each for each in group if each.source_request]) <= 400


def test_each_sender_keeps_its_order_and_everything_is_taken_once() -> None:
    waiting, group = lanes(), list[Delivery]()
    submitted = [
        (new_log, opening, lambda sender, _: line(sender))[number % 3](sender, number)
        for number in range(500)
        for sender in range(5)
    ]
    assert waiting.lines == 0
    arrived: Sequence[Delivery] = submitted
    taken: list[Delivery] = []
    while group := list(waiting.take(arrived)):
        taken += group
        arrived = ()
    for sender in range(5):
        assert [d for d in taken if d.sender == sender] == [d for d in submitted if d.sender == sender]
    assert (len(taken), waiting.lines, bool(waiting)) == (len(submitted), 0, False)


def test_few_logs_at_a_time_when_few_files_may_be_open() -> None:
    waiting = lanes(max_logs=3)
    group = waiting.take([new_log(sender, 0) for sender in range(10)])
    assert len(group) == 3


def test_plain_lines_of_many_clients_for_open_files_are_one_group_in_their_order() -> None:
    submitted = [line(sender) for _ in range(2) for sender in range(900)]
    waiting = lanes()
    assert list(waiting.take(submitted)) == submitted
    assert (bool(waiting), waiting.lines) == (False, 0)


def test_a_sender_that_is_alone_has_more_room() -> None:
    waiting = lanes()
    assert len(waiting.take([new_log(1, number) for number in range(1000)])) > 100


def test_a_group_needs_a_bounded_number_of_new_names_however_deep_the_paths_are() -> None:
    """A group of 256 logs with 22 folders each took more than a second, and everybody waits for a group."""
    alone = lanes(names=25).take([new_log(1, number) for number in range(1000)])
    assert 10 <= len(alone) <= 512 // 25
    several = lanes(names=25).take([new_log(sender, number) for number in range(1000) for sender in range(3)])
    assert 5 <= len(several) <= 256 // 25


def test_a_new_log_that_finds_no_room_among_deep_ones_is_the_first_of_the_next_group() -> None:
    waiting = lanes(names=25)
    waiting.take([new_log(sender, number) for number in range(100) for sender in range(12)])
    honest = new_log(99, 0)
    assert groups_until(waiting, [honest], honest) <= 2


def test_the_folders_of_a_log_are_never_more_than_are_expected() -> None:
    for path in ("", "/", "a", "/a", "/a/b/c.log", "//a///b", "/x" * 100, "/" + "y" * 5000):
        log = LogName("web", path)
        assert next(proposed_folders(log)).count("/") + 1 <= most_folders(log)
