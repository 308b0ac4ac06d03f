"""What a connection uses of its server: a clock, and the store. A connection must never know more of either."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from logferry.protocol.messages.requests import Question
from logferry.server.clients.memory.parties import Party
from logferry.server.clients.sessions.base import ClientDelivery
from logferry.server.storage.owners import Owner


class Scheduler(Protocol):
    """The event loop's clock and callback queue."""

    def time(self) -> float:
        """Return the monotonic time, in seconds."""

    def is_pass_full(self, party: Party | None) -> bool:
        """Whether so much was done in this pass, for all or for `party`, that what can wait should wait for a turn."""

    def work(self, steps: float, party: Party | None) -> None:
        """Note work that was done in this pass, in steps (steps.py)."""

    def call_soon(self, callback: Callable[[], object], party: Party | None) -> object:
        """Call `callback` after other clients have had their turn; the connections of a party share its turns."""

    def call_later(self, delay_s: float, callback: Callable[[], object], /) -> object:
        """Call `callback` after some seconds."""

    def call_in_next_pass(self, callback: Callable[[], object], /) -> object:
        """Call a function that takes little time in the next pass of the loop, ahead of all turns."""


class StoreAccess(Protocol):
    """A connection's access to the store."""

    def submit(self, delivery: ClientDelivery) -> None:
        """Submit a delivery; its channel's `stored` and `after_stored` are called in the event loop."""

    def give_up(self, deliveries: Collection[ClientDelivery]) -> None:
        """Have the store give deliveries back that it holds back; they come back as stored ones do."""

    def ask(self, question: Question, owner: Owner, on_answer: Callable[[bytes], None]) -> None:
        """Answer a question in another thread; `on_answer` receives the answer line in the event loop."""

    def damaged_sources(self, owner: str) -> Sequence[str]:
        """Return sources of an owner that are known to be damaged."""

    def sign_of_life(self) -> bytes:
        """Return a heartbeat, which says why the store stores nothing now, if it does not."""
