"""Questions of clients: what waits for an answer from another thread, and whose question is asked next.

A client has one question with the store at a time, and the next one only when it has taken the last answer. Clients
take turns. A question is charged to its client while it waits, and an answer before the store is asked for it. Must
never let a client wait for another one that does not take its answers.
"""

import sys
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from logferry.protocol.delivery_repairs import CONTENT_BYTES
from logferry.protocol.delivery_requests import Content, Locate, Question, Repair, SourcesOf
from logferry.server.clients.flow_control import MemoryAccount, MemoryBudget
from logferry.server.clients.services import StoreAccess

# Our client asks one question at a time.
_MAX_WAITING: Final = 100

# At the same time with the store: more than the threads that answer, so that these never wait for the event loop.
_MAX_ASKED: Final = 8
_MAX_ASKED_UNDER_PRESSURE: Final = 2

# Of the memory limit: above it, no answer is asked for. It is more than what stops the reading of messages, because
# questions that wait may be what fills the memory.
_NOT_ABOVE: Final = 1.25

_OVERHEAD_BYTES: Final = 512
_ID_BYTES: Final = 128

# A page of a report, with its extents, losses and windows; other answers are shorter, but for content.
_PAGE_BYTES: Final = 256 * 1024


class _Asker(Protocol):
    def ask_now(self) -> None:
        """Ask the store the next question."""


class QuestionOrder:
    """Whose question is asked next. One for all clients."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._waiting: dict[_Asker, None] = {}  # in the order in which they came
        self._asked = 0

    def wait(self, asker: _Asker) -> None:
        """Have a client ask when its turn comes, which may be now."""
        self._waiting[asker] = None
        self.proceed()

    def leave(self, asker: _Asker) -> None:
        """Note that a client does not want to ask any more."""
        self._waiting.pop(asker, None)

    def answered(self) -> None:
        """Note that a question was answered."""
        self._asked -= 1
        self.proceed()

    def proceed(self) -> None:
        """Let clients ask while there is room for answers."""
        if not self._waiting:
            return
        budget = self._budget
        while self._waiting and budget.total <= budget.limit * _NOT_ABOVE:
            if self._asked >= (_MAX_ASKED_UNDER_PRESSURE if budget.is_tight else _MAX_ASKED):
                return
            asker = next(iter(self._waiting))
            del self._waiting[asker]
            self._asked += 1
            asker.ask_now()


class Questions:
    """The questions of one client, in their order."""

    def __init__(
        self,
        order: QuestionOrder,
        store: StoreAccess,
        memory: MemoryAccount,
        *,
        takes_answers: Callable[[], bool],
        on_answer: Callable[[bytes], None],
    ) -> None:
        """`takes_answers` returns whether the client has taken the answers before; `on_answer` gets each answer."""
        self._order = order
        self._store = store
        self._memory = memory
        self._takes_answers = takes_answers
        self._on_answer = on_answer
        self._waiting: deque[tuple[Question, str]] = deque()  # each with its owner
        self._is_asking = False
        self._has_repair = False  # each may take megabytes

    @property
    def is_busy(self) -> bool:
        """Whether the client waits for an answer."""
        return self._is_asking or bool(self._waiting)

    def take(self, question: Question, owner: str) -> str | None:
        """Take a question of `owner`; return what is wrong if the client asks too much at once."""
        if len(self._waiting) >= _MAX_WAITING:
            return "too many questions at once"
        if isinstance(question, Repair):
            if self._has_repair:
                return "a repair before the answer to the one before"
            self._has_repair = True
        self._waiting.append((question, owner))
        self._memory.owe(_question_bytes(question))
        self.proceed()
        return None

    def proceed(self) -> None:
        """Ask the next question, in turn with other clients, if the client has taken the last answer."""
        if self._waiting and not self._is_asking and self._takes_answers():
            self._order.wait(self)

    def ask_now(self) -> None:
        """Ask the store the next question; the order of questions calls this."""
        question, owner = self._waiting.popleft()
        self._is_asking = True
        size = _answer_bytes(question)
        self._memory.owe(size)

        def answered(line: bytes) -> None:
            self._is_asking = False
            self._has_repair = self._has_repair and not isinstance(question, Repair)
            self._memory.owe(-size - _question_bytes(question))
            self._on_answer(line)
            self.proceed()
            self._order.answered()

        self._store.ask(question, owner, answered)

    def discard(self) -> None:
        """Forget the questions that wait."""
        self._order.leave(self)
        self._memory.owe(-sum(_question_bytes(question) for question, _ in self._waiting))
        self._waiting.clear()
        self._has_repair = self._has_repair and self._is_asking


def _question_bytes(question: Question) -> int:
    match question:
        case Repair():
            return _OVERHEAD_BYTES + len(question.payload)
        case Locate():
            return _OVERHEAD_BYTES + len(question.sources) * _ID_BYTES
        case SourcesOf():
            return _OVERHEAD_BYTES + sys.getsizeof(question.path) + sys.getsizeof(question.host)
    return _OVERHEAD_BYTES


def _answer_bytes(question: Question) -> int:
    """Return how many bytes the answer to a question may have."""
    if isinstance(question, Content):
        return _OVERHEAD_BYTES + min(question.size, CONTENT_BYTES) * 4 // 3
    return _OVERHEAD_BYTES if isinstance(question, Repair) else _PAGE_BYTES
