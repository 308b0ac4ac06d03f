"""The window of unacked batches: which answers it takes, and what is left to send again."""

import time
import zlib

from logferry.client.delivery.accounts.window import Window, advance_checkpoint, note_rendering
from logferry.client.delivery.engine.engine import WINDOW_BYTES
from logferry.model.batch import Batch
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from tests.support.running import numbered_line

SOURCE = Source("app.log")


def batch(*numbers: int) -> Batch:
    lines = [numbered_line(number) for number in numbers]
    return Batch(SOURCE, 0, 1, b"".join(lines), len(lines))


def window_of(*batches: Batch, max_bytes: int = 10**6) -> Window:
    window = Window(max_bytes=max_bytes)
    for each in batches:
        window.add(each)
    return window


def test_a_batch_whose_lines_are_all_answered_leaves() -> None:
    """Rule C2."""
    first, second = batch(0, 1, 2), batch(3, 4)
    window = window_of(first, second)
    window.answered(first, 3)
    window.answered(second, 1)
    assert list(window.take_done()) == [first]
    assert window.unfinished() == list(window) == [second]
    assert window.unacked_lines == 1
    window.answered(second, 1)
    assert list(window.take_done()) == [second]
    assert len(window) == 0


def test_the_bound_counts_bytes_and_lets_one_batch_in_always() -> None:
    """Rule C1."""
    large = batch(*range(100))
    window = window_of(max_bytes=10)
    assert window.has_room
    window.add(large)
    assert not window.has_room
    window.answered(large, 99)
    assert not window.has_room
    window.answered(large, 1)
    assert list(window.take_done()) == [large]
    assert window.has_room


def test_the_window_is_full_when_its_batches_take_exactly_the_bound() -> None:
    """Rule C1. A batch takes its payload and 512 bytes."""
    size = len(batch(0).payload) + 512
    full, open_ = window_of(batch(0), max_bytes=size), window_of(batch(0), max_bytes=size + 1)
    assert (full.has_room, open_.has_room) == (False, True)


def test_a_window_is_8_mib_of_rendered_lines() -> None:
    """Rule C1."""
    assert WINDOW_BYTES == 8 * 1024 * 1024


def batch_of(source: Source, start: int, end: int, *, rendering: RenderSpec | None = None) -> Batch:
    payload = numbered_line(start)
    return Batch(source, start, end, payload, 1, rendering=rendering)


def test_a_slow_source_holds_back_neither_the_checkpoint_nor_the_memory_of_another_one() -> None:
    slow, quick = Source("slow.log"), Source("quick.log")
    size = len(numbered_line(0))
    window = window_of(batch_of(slow, 0, 9), max_bytes=20 * size)
    for start in range(1000):
        assert window.has_room
        window.add(batch_of(quick, start, start + 1))
        (done,) = window.mark_stored(quick.id, start + 1)
        for each in window.take_done():
            advance_checkpoint(each, plain_server="")
        assert (quick.committed, quick.lines) == (start + 1, start + 1)
        assert done not in list(window)
    assert [each.source for each in window] == [slow]
    assert slow.committed == 0
    assert window.source(quick.id) is None


def test_an_ack_completes_the_batches_of_its_source_up_to_its_offset_in_order() -> None:
    one, other = Source("one.log"), Source("other.log")
    first, second, third = batch_of(one, 0, 5), batch_of(one, 5, 8), batch_of(one, 8, 9)
    window = window_of(first, batch_of(other, 0, 99), second, third)
    assert window.mark_stored(one.id, 8) == [first, second]
    assert window.mark_stored(one.id, 8) == []
    assert list(window.take_done()) == [first, second]
    assert window.of_source(one) == [third]
    assert window.oldest_of(one.id) is third
    assert window.mark_stored("unknown", 99) == []


def test_an_ack_does_not_complete_a_batch_that_was_done_before() -> None:
    unanswered, blank = batch_of(SOURCE, 0, 1), Batch(SOURCE, 1, 2)
    window = window_of(unanswered, blank)
    window.finish(blank)
    assert window.mark_stored(SOURCE.id, 2) == [unanswered]
    assert list(window.take_done()) == [unanswered, blank]


def test_a_batch_without_lines_waits_for_what_was_read_before_it_of_its_source_and_for_nothing_else() -> None:
    """The plain protocol has no answer to it; a checkpoint that moves over it says that all before it is stored."""
    other = Source("other.log")
    unanswered, blank, blank_of_other = batch(0), Batch(SOURCE, 1, 2), Batch(other, 0, 1)
    window = window_of(unanswered, blank, blank_of_other)
    window.finish(blank)
    window.finish(blank_of_other)
    assert list(window.take_done()) == [blank_of_other]
    assert list(window) == [unanswered, blank]
    assert window.unfinished() == window.of_source(SOURCE) == [unanswered]
    assert window.oldest_of(SOURCE.id) is unanswered
    window.answered(unanswered, 1)
    assert list(window.take_done()) == [unanswered, blank]
    assert len(window) == 0


def test_batches_without_lines_are_bounded_too() -> None:
    window = window_of(max_bytes=100_000)
    while window.has_room:
        window.add(Batch(SOURCE, len(window), len(window) + 1))
    assert 10 < len(window) < 1000


def test_a_source_that_is_dropped_leaves_the_others_and_room() -> None:
    other = Source("other.log")
    kept = batch_of(other, 0, 1)
    window = window_of(batch_of(SOURCE, 0, 1), kept, batch_of(SOURCE, 1, 2), max_bytes=1200)
    assert not window.has_room
    window.drop_source(SOURCE)
    assert list(window) == [kept]
    assert window.has_room
    assert window.source(other.id) is other
    assert window.source(SOURCE.id) is None


def test_a_batch_that_is_put_first_is_first_in_the_window_and_of_its_source() -> None:
    later = batch_of(SOURCE, 5, 6)
    window = window_of(batch_of(Source("other.log"), 0, 1), later)
    first = Batch(SOURCE, 0, 5, lost="gone")
    window.add_first(first)
    assert next(iter(window)) is first
    assert window.of_source(SOURCE) == [first, later]


def test_the_time_for_an_ack_does_not_depend_on_how_many_sources_there_are() -> None:
    sources = [Source(f"{number}.log") for number in range(20_000)]
    window = window_of(*(batch_of(source, 0, 1) for source in sources), max_bytes=10**9)
    begin = time.process_time()
    for source in reversed(sources):
        assert window.source(source.id) is source
        window.mark_stored(source.id, 1)
        assert len(list(window.take_done())) == 1
    assert time.process_time() - begin < 3  # with a look at all that is in flight it would be 20
    assert len(window) == 0


def test_the_crc32_at_an_offset_is_known_if_the_batches_up_to_there_are_here() -> None:
    source = Source("app.log", committed=3, crc32=zlib.crc32(b"before"))
    first, second = batch_of(source, 3, 9), batch_of(source, 9, 12)
    window = window_of(first, second)
    expected = {
        3: zlib.crc32(b"before"),
        9: zlib.crc32(b"before" + first.payload),
        12: zlib.crc32(b"before" + first.payload + second.payload),
    }
    for offset in range(15):
        assert window.crc32_up_to(source, offset) == expected.get(offset), offset
    window.drop_source(source)
    window.add(second)
    assert window.crc32_up_to(source, 12) is None


def test_a_batch_that_is_given_up_has_no_lines_and_leaves_room_for_its_payload() -> None:
    given_up = batch(*range(100))
    window = window_of(given_up, max_bytes=600)
    assert not window.has_room
    window.give_up(given_up, "refused")
    assert window.has_room
    assert (given_up.payload, given_up.lines, given_up.lost) == (b"", 0, "refused")
    assert given_up.crc32 == 0
    window.finish(given_up)
    assert list(window.take_done()) == [given_up]
    assert window_of(max_bytes=1).has_room


PLAIN, JSON = RenderSpec(), RenderSpec(format="json")


def test_a_source_remembers_from_which_offset_on_it_was_rendered_how() -> None:
    source = Source("app.log")
    assert note_rendering(batch_of(source, 0, 5, rendering=PLAIN))
    assert not note_rendering(batch_of(source, 5, 9, rendering=RenderSpec()))
    assert note_rendering(batch_of(source, 9, 12, rendering=JSON))
    assert not note_rendering(batch_of(source, 12, 20, rendering=JSON))
    assert not note_rendering(batch_of(source, 20, 21))  # nothing was rendered
    assert source.renderings == [(0, PLAIN), (9, JSON)]


def test_what_is_sent_again_is_remembered_as_it_is_rendered_then() -> None:
    """The first time nothing of it was stored."""
    source = Source("app.log", renderings=[(0, PLAIN), (9, JSON)])
    assert note_rendering(batch_of(source, 5, 12, rendering=JSON))
    assert source.renderings == [(0, PLAIN), (5, JSON)]
    assert note_rendering(batch_of(source, 0, 12, rendering=JSON))
    assert source.renderings == [(0, JSON)]
