"""A pattern of the user that explodes on a line is stopped; the line is shipped, and everybody else's lines too."""

import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from logferry.cli.pattern_watch import LONGEST_SUSPENSION_S, SUSPENSION_S, PatternWatch, watch_installed
from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.batch import BatchReader
from logferry.client.readers.rerender import rerender
from logferry.model.render_spec import PLAIN, RenderSpec
from logferry.rendering.engine.user_patterns import UserPattern, compile_user_pattern, rendering_again
from logferry.rendering.renderer import renderer
from logferry.telemetry.metrics import Metrics
from tests.support.processes import client, server
from tests.support.running import DEADLINE_S, stored_lines, wait_until
from tests.support.shipping import ship_settings

EXPLODES = r"(?P<word>(?:a+)+)!"
EVIL = "a" * 60
DATA = f"aa!\n{EVIL}\naaa!\n".encode()


@pytest.fixture(autouse=True)
def watch() -> Iterator[PatternWatch]:
    """A watch with short limits."""
    found = PatternWatch(line_s=0.05, chunk_s=0.05)
    with watch_installed(found):
        yield found


def rendered(**changes: Any) -> list[str]:
    """Return the records of DATA."""
    spec = RenderSpec(**({"format": "plain"} | changes))
    return renderer(spec).render(DATA).payload.decode().splitlines()


def messages(**changes: Any) -> list[str]:
    """Return what is shown of the messages of DATA."""
    return [
        "evil" if EVIL in record else "redacted" if "[redacted]" in record else "other"
        for record in rendered(**changes)
    ]


def test_a_line_on_which_a_format_explodes_keeps_its_message(caplog: pytest.LogCaptureFixture) -> None:
    assert rendered(format=f"regex:{EXPLODES}") == [
        '{"level": "UNKNOWN", "message": "aa!", "timestamp": null, "word": "aa"}',
        f'{{"level": "UNKNOWN", "message": "{EVIL}", "timestamp": null}}',
        '{"level": "UNKNOWN", "message": "aaa!", "timestamp": null, "word": "aaa"}',
    ]
    assert caplog.messages == [
        f"the pattern '{EXPLODES}' (format regex) took too long on a line and was stopped: '{EVIL}'; "
        "all of the event is shipped as its message"
    ]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"include": (EXPLODES,)}, ["other", "evil", "other"]),
        ({"exclude": (EXPLODES,)}, ["evil"]),
        ({"redact": (EXPLODES,)}, ["redacted", "redacted", "redacted"]),
        ({"multiline": EXPLODES}, ["other", "evil", "other"]),
    ],
)
def test_no_purpose_of_a_pattern_loses_or_reveals_a_line(options: dict[str, Any], shown: list[str]) -> None:
    """Filters keep the event, a redaction hides all of it, a joiner begins a new event (rule F36)."""
    assert messages(**options) == shown


def test_a_line_is_too_slow_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is looked at again when it is joined, redacted, or rendered again after a reconnect."""
    pattern = compile_user_pattern("include", EXPLODES)
    assert pattern.find_each([EVIL], too_slow=True) == [True]
    begin = time.process_time()
    for _ in range(1000):
        assert pattern.find_each([EVIL], too_slow=True) == [True]
    assert time.process_time() - begin < 0.05 * 1000
    assert len(caplog.messages) == 1


def test_a_pattern_that_is_stopped_all_the_time_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    lines = [EVIL + str(number) for number in range(1000)]
    assert pattern.find_each(lines, too_slow=False) == [False] * 1000
    assert "took too long 8 times and is left out for 60 s: the event is shipped" in caplog.text
    assert len(caplog.messages) == 2


# --- without real time ------------------------------------------------------------------------------------------------


class PretendingWatch(PatternWatch):
    """A watch for which EXPLODES is too slow on texts with EVIL in them, with a clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers = 0
        super().__init__(clock=lambda: self.now)

    def __call__(self, pattern: UserPattern, function: Callable[[str], Any], texts: Any, too_slow: Any) -> list[Any]:
        def pretended(text: str) -> Any:
            return SLOW if pattern.compiled.pattern == EXPLODES and EVIL in text else function(text)

        return super().__call__(pattern, pretended, texts, too_slow)

    def _timed(self, action: Callable[[], list[Any]], limit_s: float) -> list[Any] | None:
        self.timers += 1
        found = action()
        return None if SLOW in found else found


SLOW: Final = object()


@pytest.fixture
def pretending() -> Iterator[PretendingWatch]:
    found = PretendingWatch()
    with watch_installed(found):
        yield found


def test_a_pattern_that_is_left_out_again_soon_is_left_out_for_longer(pretending: PretendingWatch) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    lasted = []
    for number, pause_s in enumerate((0.0, SUSPENSION_S / 2, 2 * SUSPENSION_S + 1.0)):
        pretending.now += pause_s
        pattern.find_each([f"{EVIL} {number} {each}" for each in range(8)], too_slow=False)
        lasted.append(until_applied(pretending))
    assert lasted == [SUSPENSION_S, 2 * SUSPENSION_S, SUSPENSION_S]


def test_a_pattern_is_left_out_for_an_hour_at_most(pretending: PretendingWatch) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    for number in range(10):
        pattern.find_each([f"{EVIL} {number} {each}" for each in range(8)], too_slow=False)
        lasted = until_applied(pretending)
    assert lasted == LONGEST_SUSPENSION_S


def until_applied(watch: PretendingWatch) -> float:
    """Return for how long the pattern is left out, and let that time pass."""
    begin = watch.now
    while watch.left_out == {EXPLODES}:
        watch.now += SUSPENSION_S / 2
    return watch.now - begin


def test_a_good_pattern_is_tried_on_all_lines_together_again(pretending: PretendingWatch) -> None:
    """After one line that was too slow, each line had a timer of its own for the rest of the process."""
    pattern = compile_user_pattern("exclude", EXPLODES)
    pattern.find_each([EVIL], too_slow=False)
    assert [timers_for_good_lines(pretending, pattern) for _ in range(2)] == [10_000, 1]


def test_a_chunk_that_is_too_slow_again_is_tried_line_by_line_for_longer(pretending: PretendingWatch) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    for number in range(2):
        pattern.find_each([f"{EVIL} {number}"], too_slow=False)
        assert timers_for_good_lines(pretending, pattern) == 10_000
    assert [timers_for_good_lines(pretending, pattern) for _ in range(2)] == [10_000, 1]


def timers_for_good_lines(watch: PretendingWatch, pattern: UserPattern) -> int:
    """Return how many timers 10,000 good lines take."""
    before = watch.timers
    pattern.find_each(["aa!"] * 10_000, too_slow=False)
    return watch.timers - before


# --- what was left out is known ---------------------------------------------------------------------------------------

MANY = [f"{EVIL}{number}" for number in range(20)]
GOOD = ["aa!", "aaa! and more", ""]
PURPOSES = pytest.mark.parametrize(
    "options",
    [
        {"format": f"regex:{EXPLODES}"},
        {"include": (EXPLODES, "never")},
        {"exclude_line": (EXPLODES, "more")},
        {"redact": (EXPLODES, "email")},
        {"multiline": EXPLODES},
    ],
    ids=lambda options: next(iter(options)),
)


@PURPOSES
def test_what_a_pattern_did_is_the_same_when_a_file_is_rendered_again(
    tmp_path: Path, pretending: PretendingWatch, options: dict[str, Any]
) -> None:
    """A pattern that was left out was left out for good lines, too, and verify took those for altered."""
    log = tmp_path / "app.log"
    log.write_text("\n".join([*GOOD, *MANY, *GOOD]) + "\n")
    producer = RenderingProducer(BatchReader(ship_settings(log, 1, **options).inputs), metrics=Metrics(), max_lines=3)
    batches = [batch for batch in iter(producer.next_batch, None) if batch.rendering]
    assert (batches[0].start, batches[-1].end) == (0, log.stat().st_size)
    assert pretending.left_out == {EXPLODES}
    renderings = [(batch.start, batch.rendering or PLAIN) for batch in batches]
    with closing(SourceFile(log, max_line_bytes=1000)) as file, watch_installed(PretendingWatch()):
        found = rerender(file, log.stat().st_size, renderings)
    assert found.crc32 == zlib.crc32(b"".join(bytes(batch.payload) for batch in batches))


def test_a_range_that_is_rendered_again_uses_a_pattern_that_is_left_out_now(pretending: PretendingWatch) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    pattern.find_each(MANY, too_slow=False)
    assert pretending.left_out == {EXPLODES}
    assert pattern.find_each(["aa!"], too_slow=False) == [False]
    with rendering_again():
        assert [bool(found) for found in pattern.find_each(["aa!", *MANY], too_slow=False)] == [True] + 20 * [False]


def test_lines_that_are_too_slow_when_they_are_rendered_again_leave_no_pattern_out(
    pretending: PretendingWatch,
) -> None:
    pattern = compile_user_pattern("exclude", EXPLODES)
    with rendering_again():
        pattern.find_each(MANY, too_slow=False)
    assert pretending.left_out == frozenset()


# --- the real watch, in threads and at its end ------------------------------------------------------------------------


def test_another_thread_gets_its_lines_rendered_too() -> None:
    """With --resilient a second thread renders; a match in it cannot be stopped, so the main thread does it."""
    found: list[list[str]] = []
    thread = threading.Thread(target=lambda: found.append(messages(include=(EXPLODES,))))
    thread.start()
    wait_until(lambda: bool(found), "the lines are rendered")
    thread.join(DEADLINE_S)
    assert found == [["other", "evil", "other"]]


def test_an_error_in_another_thread_is_raised_there() -> None:
    errors: list[BaseException] = []

    def fail(_text: str) -> object:
        raise ZeroDivisionError

    def work() -> None:
        try:
            compile_user_pattern("include", "x").apply(fail, ["x"], None)
        except ZeroDivisionError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: bool(errors), "the error is raised")
    thread.join(DEADLINE_S)


def test_a_timer_that_fires_late_stops_nothing(watch: PatternWatch) -> None:
    """The signal may arrive when the match has just ended."""
    watch.stop_match(signal.SIGVTALRM, None)
    assert messages(include=("a",)) == ["other", "evil", "other"]


def test_after_the_end_other_threads_are_not_kept_waiting(watch: PatternWatch) -> None:
    """A thread that repairs may outlive the run."""
    watch.close()
    found: list[object] = []
    pattern = compile_user_pattern("include", "a")
    thread = threading.Thread(target=lambda: found.append(watch(pattern, bool, ["a"], False)))
    thread.start()
    thread.join(DEADLINE_S)
    assert found == [[True]]


@pytest.mark.parametrize("mode", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_a_client_with_an_exploding_pattern_ships_other_files_and_stops(tmp_path: Path, mode: tuple[str, ...]) -> None:
    """Before, one line stopped all files, and only SIGKILL ended the client."""
    evil, other = tmp_path / "evil.log", tmp_path / "other.log"
    evil.write_bytes(DATA)
    other.write_text("honest\n")
    data = tmp_path / "data"
    with server(data, folder=tmp_path) as running:
        words = ("--log-file", str(other), "--include", EXPLODES, "--include", "honest", "--mode", "continuous", *mode)
        with client(evil, running.port, *words, folder=tmp_path) as run:
            wait_until(lambda: len(stored_lines(data)) == 4, "everything is stored")
            assert run.terminate() == 0
