"""Mutated sessions against a real server with a real store.

    python tests/fuzz/fuzz_conversations.py --sessions 100000 --seed 1

Whatever the sessions say, the server goes on, logs no traceback, answers each connection with whole JSON lines, stores
nothing but JSON objects, one a line, and acks an honest client's lines, which are stored exactly once.
"""

import argparse
import contextlib
import json
import logging
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

if __name__ == "__main__":  # run as a script from anywhere
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from logferry.server import Patience
from tests.fuzz.mutations import in_pieces, mutate
from tests.fuzz.sessions import session
from tests.support.delivery import LINES, DeliveryClient, batch
from tests.support.running import RawClient, RunningServer, running_server, stored_lines

# So many sessions are open at the same time.
_OPEN: Final = 8

# An honest client ships a batch after this many sessions.
_HONEST_EVERY: Final = 50

# The server says what it dislikes about sessions in warnings; anything worse is a finding.
_PATIENCE: Final = Patience(linger_s=0.2)


class _Findings(logging.Handler):
    """Keeps log records that show a fault of the server itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.found.append(self.format(record))


@dataclass
class Outcome:
    """What a run of the fuzzer did and found."""

    sessions: int = 0
    answers: int = 0
    honest_lines: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return the report line."""
        counts = f"sessions {self.sessions} answers {self.answers} honest lines {self.honest_lines}"
        return f"{counts} problems {len(self.problems)}"


class ConversationFuzzer:
    """Drives sessions and, in between, an honest client."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._random = Random(seed)
        self._open: list[RawClient] = []
        self.outcome = Outcome()

    def run(self, sessions: int) -> Outcome:
        """Drive this many sessions; return what was found."""
        findings = _Findings()
        logger = logging.getLogger("logferry")
        logger.addHandler(findings)
        try:
            with running_server(self._folder, patience=_PATIENCE) as server:
                with DeliveryClient(server, source="honest", client="honest") as honest:
                    for number in range(sessions):
                        if number % _HONEST_EVERY == 0:
                            self._ship_honestly(honest)
                        self._drive(server)
                    self._ship_honestly(honest)
                while self._open:
                    self._end(self._open.pop())
        finally:
            logger.removeHandler(findings)
        self.outcome.problems += findings.found
        self._check_store()
        return self.outcome

    def _drive(self, server: RunningServer) -> None:
        data = mutate(self._random, session(self._random))
        client = server.connect()
        self.outcome.sessions += 1
        with contextlib.suppress(ConnectionError):  # the server may close at any time
            for piece in in_pieces(self._random, data):
                client.send(piece)
            if self._random.random() < 0.7:
                client.finish_sending()
        self._open.append(client)
        if len(self._open) > _OPEN:
            self._end(self._open.pop(self._random.randrange(_OPEN)))

    def _end(self, client: RawClient) -> None:
        """End a session: by reading what the server has answered, or by breaking it off."""
        if self._random.random() < 0.2:
            client.reset()
            return
        with contextlib.suppress(OSError):
            client.finish_sending()
        answers = b""
        with contextlib.suppress(ConnectionError):
            answers = client.read_to_end()
        client.close()
        answers, _, _ = answers.partition(b"HTTP/1.1 400 ")  # what a browser is answered is the last answer
        for line in answers[: answers.rfind(b"\n") + 1].splitlines():
            self.outcome.answers += 1
            self._check_object("answered", line)

    def _ship_honestly(self, client: DeliveryClient) -> None:
        """Ship one more batch; its ack must come."""
        first = self.outcome.honest_lines
        lines = [_honest_line(number) for number in range(first, first + 10)]
        start = sum(len(_honest_line(number)) for number in range(first))
        client.send(batch(lines, start=start, source="honest"))
        answer = client.answer_after_alive()
        self.outcome.honest_lines += len(lines)
        if answer.get("committed") != start + sum(map(len, lines)):
            self.outcome.problems.append(f"the honest client was answered {answer}")

    def _check_store(self) -> None:
        honest: list[bytes] = []
        for line in stored_lines(self._folder / "data"):
            self._check_object("stored", line)
            if line.startswith(b'{"level": "HONEST"'):
                honest.append(line)
        if honest != [_honest_line(number) for number in range(self.outcome.honest_lines)]:
            self.outcome.problems.append(f"of {self.outcome.honest_lines} honest lines, {len(honest)} are stored")

    def _check_object(self, what: str, line: bytes) -> None:
        try:
            value = json.loads(line, parse_int=float)  # a number with thousands of digits is legal JSON
        except ValueError as error:
            value = error
        if not isinstance(value, dict):
            self.outcome.problems.append(f"the server {what} {line[:200]!r}: {value}")


def _honest_line(number: int) -> bytes:
    return LINES[0].replace(b"INFO", b"HONEST").replace(b"line 0", b"line %d" % number)


def main() -> int:
    """Run, print a report line, and return 1 if something was found."""
    parser = argparse.ArgumentParser(description="Drive mutated sessions against a real server.")
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.getLogger("logferry").setLevel(logging.ERROR)
    socket.setdefaulttimeout(60)
    with tempfile.TemporaryDirectory() as folder:
        outcome = ConversationFuzzer(Path(folder), seed=arguments.seed).run(arguments.sessions)
    for problem in outcome.problems[:20]:
        print(problem)
    print(f"seed {arguments.seed} {outcome}")
    return bool(outcome.problems)


if __name__ == "__main__":
    sys.exit(main())
