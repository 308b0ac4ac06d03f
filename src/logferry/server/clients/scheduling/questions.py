"""Questions of clients: what waits for an answer from another thread, and whose question is asked next.

A client has one question with the store at a time, and the next one only when it has taken the last answer. Clients
take turns; a report, which may read much, waits for those that have cost less (waiting.py). A question is charged to
its client while it waits, and an answer before the store is asked for it. Must never let a client wait for another one
that does not take its answers.
"""

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from logferry.protocol.messages.repairs import CONTENT_BYTES, RepairOutcome, repair_line
from logferry.protocol.messages.requests import Content, Locate, Question, Repair, Report, SourcesOf
from logferry.server.clients.memory.flow_control import MemoryAccount, MemoryBudget
from logferry.server.clients.scheduling.waiting import Asker, CheapFirst, InTurn
from logferry.server.clients.services import StoreAccess
from logferry.server.storage.owners import Owner

# Our client asks one question at a time.
_MAX_WAITING: Final = 100

# Of the memory limit: above it, one answer of each kind is asked for at a time, so that what questions hold is freed.
# It is more than what stops the reading of messages, because questions that wait may be what fills the memory.
_NOT_ABOVE: Final = 1.25

# Of the memory limit: what the repairs of all clients may hold that are not answered yet, if they are more than one.
_REPAIRS_SHARE: Final = 0.25
_TOO_MANY_REPAIRS: Final = "the server has too many repairs at once; try again later"

_OVERHEAD_BYTES: Final = 512
_ID_BYTES: Final = 128

# A page of a report, with its extents, losses and windows; other answers are shorter, but for content.
_PAGE_BYTES: Final = 256 * 1024


class _Asker(Asker, Protocol):
    @property
    def next_question(self) -> Question:
        """The question that `ask_now` asks."""

    def ask_now(self) -> None:
        """Ask the store the next question."""


@dataclass(slots=True)
class _Lane:
    """Clients that wait with a question of one kind; and how many are asked now, and when the last was answered.

    The bounds are above the number of threads that answer, so that these never wait for the event loop.
    """

    most: int
    most_under_pressure: int
    waiting: InTurn[_Asker] | CheapFirst[_Asker]
    asked: int = 0
    answered_at: float = 0.0


class QuestionOrder:
    """Whose question is asked next. One for all clients. Nobody waits behind reports, which may read much."""

    def __init__(self, budget: MemoryBudget, now: Callable[[], float]) -> None:
        self._budget = budget
        self.now = now
        self._repairs, self._others = _Lane(2, 2, InTurn()), _Lane(8, 2, InTurn())
        self._reports = _Lane(2, 1, CheapFirst(now))
        self._lanes = (self._repairs, self._others, self._reports)
        self._repair_bytes = 0

    def wait(self, asker: _Asker) -> None:
        """Have a client ask when its turn comes, which may be now."""
        self._lane(asker.next_question).waiting.add(asker)
        self.proceed()

    def leave(self, asker: _Asker) -> None:
        """Note that a client does not want to ask any more."""
        for lane in self._lanes:
            lane.waiting.discard(asker)

    def answered(self, question: Question, keys: Sequence[tuple[str, str]], asked_at: float) -> None:
        """Note that a question was answered, which was asked at `asked_at`. One thread answers those of a kind."""
        lane, now = self._lane(question), self.now()
        lane.asked -= 1
        lane.waiting.note_cost(keys, now - max(asked_at, lane.answered_at))
        lane.answered_at = now
        self.proceed()

    def hold_repair(self, size: int) -> bool:
        """Charge a repair until `repair_ended`; return False if all repairs together would hold too much."""
        if self._repair_bytes and self._repair_bytes + size > self._budget.limit * _REPAIRS_SHARE:
            return False
        self._repair_bytes += size
        return True

    def repair_ended(self, size: int) -> None:
        """Note that a repair was answered or forgotten."""
        self._repair_bytes -= size

    def proceed(self) -> None:
        """Let clients ask while there is room for answers."""
        for lane in self._lanes:
            while lane.waiting and self._may_ask(lane):
                asker = lane.waiting.first()
                lane.waiting.discard(asker)
                lane.asked += 1
                asker.ask_now()

    def _may_ask(self, lane: _Lane) -> bool:
        budget = self._budget
        if not lane.asked:
            return True
        if lane.asked >= (lane.most_under_pressure if budget.is_tight else lane.most):
            return False
        size = _answer_bytes(lane.waiting.first().next_question)
        return budget.total + size <= budget.limit * _NOT_ABOVE

    def _lane(self, question: Question) -> _Lane:
        match question:
            case Repair():
                return self._repairs
            case Report():
                return self._reports
        return self._others


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
        self._waiting: deque[tuple[Question, Owner]] = deque()  # each with its owner
        self._is_asking = False
        self._has_repair = False  # each may take megabytes

    @property
    def is_busy(self) -> bool:
        """Whether the client waits for an answer."""
        return self._is_asking or bool(self._waiting)

    def take(self, question: Question, owner: Owner) -> str | None:
        """Take a question of `owner`; return what is wrong if the client asks too much at once.

        A repair that all repairs together leave no room for is answered immediately.
        """
        if len(self._waiting) >= _MAX_WAITING:
            return "too many questions at once"
        if isinstance(question, Repair):
            if self._has_repair:
                return "a repair before the answer to the one before"
            if not self._order.hold_repair(_question_bytes(question)):
                self._on_answer(repair_line(RepairOutcome(question.source, question.start, False, _TOO_MANY_REPAIRS)))
                return None
            self._has_repair = True
        self._waiting.append((question, owner))
        self._memory.owe(_question_bytes(question))
        self.proceed()
        return None

    def proceed(self) -> None:
        """Ask the next question, in turn with other clients, if the client has taken the last answer."""
        if self._waiting and not self._is_asking and self._takes_answers():
            self._order.wait(self)

    @property
    def cost_keys(self) -> Sequence[tuple[str, str]]:
        """To what the cost of the answer is charged: the client, and the source that is read."""
        question, owner = self._waiting[0]
        return ("client", owner.name), ("source", question.source if isinstance(question, Report) else "")

    @property
    def next_question(self) -> Question:
        """The question that waits for longest."""
        return self._waiting[0][0]

    def ask_now(self) -> None:
        """Ask the store the next question; the order of questions calls this."""
        keys, asked_at = self.cost_keys, self._order.now()
        question, owner = self._waiting.popleft()
        self._is_asking = True
        size = _answer_bytes(question)
        self._memory.owe(size)

        def answered(line: bytes) -> None:
            self._is_asking = False
            self._memory.owe(-size)
            self._release(question)
            self._on_answer(line)
            self.proceed()
            self._order.answered(question, keys, asked_at)

        self._store.ask(question, owner, answered)

    def discard(self) -> None:
        """Forget the questions that wait."""
        self._order.leave(self)
        while self._waiting:
            self._release(self._waiting.popleft()[0])

    def _release(self, question: Question) -> None:
        size = _question_bytes(question)
        self._memory.owe(-size)
        if isinstance(question, Repair):
            self._has_repair = False
            self._order.repair_ended(size)


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
