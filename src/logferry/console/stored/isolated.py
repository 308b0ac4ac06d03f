"""Runs questions with regular expressions in a process of their own, which is killed when the question must end.

Python holds its interpreter while a pattern is compiled, and while it matches: in a thread, one that takes exponential
time would stop the whole console. Owns the process and what passes between both: the question as pickled values on
standard input, batches of answers on standard output. Both ends are this module; nothing of a peer is ever unpickled.
"""

import contextlib
import os
import pickle
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import logferry
from logferry.console.source import Stop, Stopped, UnknownPlace, WrongPattern
from logferry.errors import LogferryError, StoreError

_T = TypeVar("_T")

_LOOK_S: Final = 0.1
_LENGTH_BYTES: Final = 4

# Answers are passed on when there are this many, or this long after the last ones.
_BATCH: Final = 200
_BATCH_S: Final = 0.05

# A process that has said nothing for so long is in one match: it looks at chunks far more often than that.
_SILENT_S: Final = 10.0


def isolated(
    question: Callable[..., Iterator[_T]],
    arguments: Sequence[object],
    more: Mapping[str, object],
    stop: Stop,
    *,
    is_tail: bool = False,
) -> Iterator[_T]:
    """Yield what `question(*arguments, stop, **more)` yields. Raises what it raises, and Stopped."""
    with _process() as process:
        assert process.stdin
        assert process.stdout
        pickle.dump((question, arguments, dict(more), stop.seconds_left, is_tail), process.stdin)
        process.stdin.close()
        for kind, values in _frames(process.stdout, stop, is_tail=is_tail):
            if kind == "error":
                raise values
            if kind == "end":
                return
            stop.bytes_read, stop.lines_read, found = values
            yield from found


@contextmanager
def _process() -> Iterator["subprocess.Popen[bytes]"]:
    root = str(Path(logferry.__file__).resolve().parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep),
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import answer; answer()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the console
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _frames(pipe: IO[bytes], stop: Stop, *, is_tail: bool) -> Iterator[tuple[str, Any]]:
    """Yield what the process says, and look meanwhile whether it must end."""
    data = bytearray()
    said_at = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            stop.check()
            if not selector.select(_LOOK_S):
                if time.monotonic() - said_at > _SILENT_S:
                    raise Stopped("time") if not is_tail else StoreError("the pattern takes too long on a line")
                continue
            read = os.read(pipe.fileno(), 1 << 20)
            if not read:
                raise StoreError("the process that searched has ended in the middle of an answer")
            said_at = time.monotonic()
            data += read
            while len(data) >= _LENGTH_BYTES:
                end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES])
                if len(data) < end:
                    break
                yield pickle.loads(bytes(data[_LENGTH_BYTES:end]))
                del data[:end]


def answer() -> None:
    """Answer the question on standard input: the other end, in its own process."""
    question, arguments, more, seconds, is_tail = pickle.load(sys.stdin.buffer)
    stop = Stop(seconds=seconds, max_bytes=1 << 62)
    if not is_tail:  # also if the console is killed: then nobody ends this process
        limit = int(seconds) + 5
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    try:
        _say_all(question(*arguments, stop, **more), stop, is_tail=is_tail)
        _say("end", None)
    except LogferryError as error:
        _say("error", StoreError(str(error)))
    except (Stopped, UnknownPlace, WrongPattern, OSError) as error:
        with contextlib.suppress(Stopped):  # nobody listens any more
            _say("error", error)


def _say_all(found: Iterator[Any], stop: Stop, *, is_tail: bool) -> None:
    batch: list[Any] = []
    said_at = 0.0

    def flush() -> None:
        nonlocal batch, said_at
        _say("found", (stop.bytes_read, stop.lines_read, batch))
        batch, said_at = [], time.monotonic()

    def look() -> None:
        if is_tail:  # the system ends a match of a tail that never ends, also if the console is killed
            signal.setitimer(signal.ITIMER_PROF, 2 * _SILENT_S)
        if time.monotonic() - said_at > _BATCH_S:
            flush()

    stop.on_check = look
    look()
    for each in found:
        batch.append(each)
        if len(batch) >= _BATCH or time.monotonic() - said_at > _BATCH_S:
            flush()
    flush()


def _say(kind: str, values: object) -> None:
    data = pickle.dumps((kind, values))
    try:
        sys.stdout.buffer.write(len(data).to_bytes(_LENGTH_BYTES) + data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise Stopped("closed") from None
