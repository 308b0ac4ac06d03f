"""A pattern of the user that explodes on a line is stopped; the line is shipped, and everybody else's lines too."""

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.pattern_watch import PatternWatch, watch_installed
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.user_patterns import compile_user_pattern
from logferry.rendering.renderer import renderer
from tests.support.processes import client, server
from tests.support.running import DEADLINE_S, stored_lines, wait_until

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
