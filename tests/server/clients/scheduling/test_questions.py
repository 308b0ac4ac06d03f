"""Questions of clients: one at a time, in turn, and only to those that take their answers."""

import sys
from collections.abc import Callable, Collection, Sequence

from logferry.protocol.messages.requests import Content, Question, Repair, Report
from logferry.server.clients.memory.flow_control import MemoryAccount, MemoryBudget
from logferry.server.clients.scheduling.questions import QuestionOrder, Questions
from logferry.server.clients.sessions.base import ClientDelivery
from logferry.server.clients.sessions.delivery import kept_path
from logferry.server.storage.owners import Owner, of_client

MIB = 1024 * 1024


OWNER = of_client("owner")


class HeldStore:
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Question, Callable[[bytes], None]]] = []
        self.now = 1000.0

    def time(self) -> float:
        """The time of the clock that the test moves."""
        return self.now

    def ask(self, question: Question, owner: Owner, on_answer: Callable[[bytes], None]) -> None:
        """See StoreAccess; likewise below."""
        self.asked.append((question, on_answer))

    def submit(self, delivery: ClientDelivery) -> None:
        raise NotImplementedError

    def give_up(self, deliveries: Collection[ClientDelivery]) -> None:
        raise NotImplementedError

    def damaged_sources(self, owner: str) -> Sequence[str]:
        return ()

    def sign_of_life(self) -> bytes:
        return b""

    def answer_next(self) -> str:
        """Answer the oldest question; return its source."""
        question, on_answer = self.asked.pop(0)
        on_answer(b"answer\n")
        assert isinstance(question, Report | Content | Repair)
        return question.source


class Asker:
    """A client's questions, and whether it takes the answers."""

    def __init__(self, order: QuestionOrder, store: HeldStore, budget: MemoryBudget) -> None:
        self.takes_answers = True
        self.answers: list[bytes] = []
        self.memory = MemoryAccount(budget)
        self.questions = Questions(
            order, store, self.memory, takes_answers=lambda: self.takes_answers, on_answer=self.answers.append
        )


def askers(count: int, budget: MemoryBudget) -> tuple[HeldStore, list[Asker]]:
    store = HeldStore()
    order = QuestionOrder(budget, store.time)
    return store, [Asker(order, store, budget) for _ in range(count)]


def test_clients_ask_in_turn_however_many_questions_one_has() -> None:
    store, (busy, *others) = askers(3, MemoryBudget(64 * MIB))
    for _ in range(5):
        busy.questions.take(Report("busy", 0), OWNER)
    for number, other in enumerate(others):
        other.questions.take(Report(f"other-{number}", 0), OWNER)
    assert [store.answer_next() for _ in range(4)] == ["busy", "other-0", "other-1", "busy"]


def test_the_next_question_waits_until_the_last_answer_is_taken() -> None:
    store, (client,) = askers(1, MemoryBudget(64 * MIB))
    client.questions.take(Report("a", 0), OWNER)
    client.questions.take(Report("b", 0), OWNER)
    client.takes_answers = False
    store.answer_next()
    assert (len(client.answers), store.asked) == (1, [])
    client.takes_answers = True
    client.questions.proceed()
    assert store.answer_next() == "b"
    assert not client.questions.is_busy


def test_an_answer_is_charged_before_it_is_asked_for_and_under_pressure_few_are() -> None:
    budget = MemoryBudget(16 * MIB)
    store, clients = askers(20, budget)
    for client in clients:
        client.questions.take(Content("s", 0, 0, 512 * 1024), OWNER)
    assert len(store.asked) == 8
    assert budget.owed > 8 * 512 * 1024
    budget.is_tight = True
    for _ in range(7):
        store.answer_next()
    assert len(store.asked) == 2
    while store.asked:
        store.answer_next()
    assert budget.owed == 0


def test_nobody_waits_behind_reports() -> None:
    store, (client, *reporting) = askers(20, MemoryBudget(64 * MIB))
    for other in reporting:
        other.questions.take(Report("a report", 0), OWNER)
    client.questions.take(Content("content", 0, 0, 512), OWNER)
    assert [store.answer_next() for _ in range(3)] == ["a report", "a report", "content"]


def test_however_full_the_memory_is_a_question_of_each_kind_is_asked() -> None:
    budget = MemoryBudget(16 * MIB)
    store, clients = askers(9, budget)
    budget.partial = 32 * MIB
    for number, client in enumerate(clients):
        kinds: list[Question] = [Report("report", 0), Content("content", 0, 0, 512), _repair(MIB)]
        client.questions.take(kinds[number % 3], OWNER)
    asked = [store.answer_next() for _ in range(9)]
    assert asked == ["report", "content", "repair"] * 3
    assert budget.owed == 0


def test_an_answer_that_does_not_fit_waits() -> None:
    budget = MemoryBudget(2 * MIB)
    store, clients = askers(20, budget)
    for client in clients:
        client.questions.take(Content("s", 0, 0, 512 * 1024), OWNER)
    assert budget.total <= 2.5 * MIB
    for _ in clients:
        store.answer_next()
    assert all(client.answers for client in clients)


def _repair(size: int) -> Repair:
    return Repair("repair", 0, size, 1, 0, bytes(size))


def test_the_repairs_of_all_clients_are_bounded_and_one_always_fits() -> None:
    budget = MemoryBudget(16 * MIB)
    store, clients = askers(20, budget)
    for client in clients:
        client.takes_answers = False
        assert client.questions.take(_repair(MIB), OWNER) is None
    assert 3 * MIB < budget.owed < 5 * MIB
    assert sum(b"too many repairs" in b"".join(client.answers) for client in clients) >= 16
    for client in clients:
        client.questions.discard()
    assert budget.owed == 0
    clients[0].takes_answers = True
    clients[0].questions.take(_repair(12 * MIB), OWNER)
    assert store.answer_next() == "repair"
    assert budget.owed == 0


def test_too_many_questions_at_once_are_refused_and_a_client_that_leaves_owes_nothing() -> None:
    budget = MemoryBudget(64 * MIB)
    store, (client,) = askers(1, budget)
    problems = [client.questions.take(Report("s", 0), OWNER) for _ in range(102)]
    assert problems == [None] * 101 + ["too many questions at once"]
    client.questions.discard()
    store.answer_next()
    assert (budget.owed, store.asked) == (0, [])


def test_a_path_is_kept_in_a_kibibyte_and_still_differs_from_others() -> None:
    assert kept_path("/var/log/app.log") == "/var/log/app.log"
    for character in ("x", "\u00e9", "\u4e2d", "\U0001f600"):
        paths = {kept_path(f"/{character * 4000}{number}") for number in range(100)}
        assert len(paths) == 100
        assert max(map(sys.getsizeof, paths)) <= 1024
    assert sys.getsizeof(kept_path("x" * 900 + "\U0001f600")) <= 1024


def test_a_client_with_a_small_question_does_not_wait_for_hundreds_that_have_large_ones() -> None:
    store, clients = askers(301, MemoryBudget(64 * MIB))
    *hostile, honest = clients
    for number, client in enumerate(hostile):
        for _ in range(90):
            client.questions.take(Report("large", 0), of_client(f"client-{number}"))
    for _ in range(3):
        store.now += 0.3  # what it takes to read a page of the large source
        store.answer_next()
    honest.questions.take(Report("small", 0), of_client("honest"))
    waited = 0
    while store.answer_next() != "small":
        store.now += 0.3
        waited += 1
    assert waited <= 2  # those that are asked already


def test_a_client_that_asks_much_waits_for_others_whatever_it_asks_about() -> None:
    store, (busy, *others) = askers(12, MemoryBudget(64 * MIB))
    for number in range(50):
        busy.questions.take(Report(f"large-{number}", 0), of_client("busy"))
    for _ in range(2):
        store.now += 0.3
        store.answer_next()
    for number, other in enumerate(others):
        other.questions.take(Report(f"small-{number}", 0), of_client(f"other-{number}"))
    answered = [store.answer_next() for _ in range(6)]
    assert len([name for name in answered if name.startswith("small")]) >= 4


def test_what_costs_much_is_answered_too_while_small_questions_never_end() -> None:
    store, (large, *small) = askers(4, MemoryBudget(64 * MIB))
    large.questions.take(Report("large", 0), of_client("large"))
    store.now += 5
    store.answer_next()
    large.questions.take(Report("large", 1), of_client("large"))
    answered = []
    for _ in range(20):
        for number, client in enumerate(small):
            if not client.questions.is_busy:
                client.questions.take(Report(f"small-{number}", 0), of_client(f"small-{number}"))
        answered.append(store.answer_next())
    assert "large" in answered
