"""The client's side of the delivery extension, without the socket: bytes in, answers out.

Owns the beginning of an answer that is not complete yet. Must never read a clock or a socket.
"""

from collections.abc import Sequence

from logferry.protocol.delivery.answer_lines import read_answer, read_welcome
from logferry.protocol.messages.answers import Answer, InvalidAnswer, NotUnderstood, Welcome
from logferry.protocol.messages.writing import MAX_ANSWER_BYTES


class DeliveryClientProtocol:
    """Turns complete lines of the server into answers; the first shows whether the server knows the extension."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # grows in place: a server may send an answer byte by byte
        self._is_welcome = False
        self._put_back: list[Answer] = []

    def put_back(self, answers: Sequence[Answer]) -> None:
        """Return answers that the caller has no use for now; the next call of `receive_data` returns them again."""
        self._put_back += answers

    @property
    def has_answers(self) -> bool:
        """Whether `receive_data` has something to return even without data."""
        return bool(self._put_back)

    def receive_data(self, data: bytes) -> list[Answer]:
        """Accept bytes from the socket; return the answers in order, up to the first that is invalid."""
        self._buffer += data
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = bytes(self._buffer).split(b"\n")
            self._buffer = bytearray(rest)
        answers, self._put_back = self._put_back, []
        for place, line in enumerate(lines):
            answer = self._read(line)
            answers.append(answer)
            if isinstance(answer, InvalidAnswer | NotUnderstood):
                self._buffer = bytearray(b"\n".join((*lines[place + 1 :], self._buffer)))
                return answers
        if len(self._buffer) > MAX_ANSWER_BYTES:
            answers.append(InvalidAnswer(f"the server's answer does not end within {MAX_ANSWER_BYTES} bytes"))
        return answers

    @property
    def unread(self) -> bytes:
        """What has arrived and was not returned as an answer."""
        return bytes(self._buffer)

    def _read(self, line: bytes) -> Answer:
        if self._is_welcome:
            return read_answer(line)
        answer = read_welcome(line)
        self._is_welcome = isinstance(answer, Welcome) and not answer.auth
        return answer
