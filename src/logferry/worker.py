"""A thread that does one job beside the others: started, woken and stopped in one way.

Owns the thread, its wish to stop, and what it failed with. What the thread does is its target's affair; a target that
must survive errors handles them itself.
"""

import threading
from collections.abc import Callable


def _nothing() -> None:
    pass


class Worker:
    """A named daemon thread. `target` runs in it and gets the worker, to wait and to see that it should end.

    Any thread may `wake` and `stop`; only the thread itself calls `wait` and writes `failure`.
    """

    def __init__(
        self,
        target: Callable[["Worker"], object],
        *,
        name: str,
        on_stop: Callable[[], object] = _nothing,
        on_end: Callable[[], object] = _nothing,
    ) -> None:
        """`on_stop` is called by `stop`, for a target that waits for something else than its worker; `on_end` in the
        thread when the target has ended, after `failure` is set.
        """
        self._target = target
        self._on_stop = on_stop
        self._on_end = on_end
        self._condition = threading.Condition()
        self._is_woken = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure: BaseException | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the thread should end."""
        return self._is_stopping

    @property
    def is_woken(self) -> bool:
        """Whether `wake` was called since the last `wait`: the next one returns at once."""
        return self._is_woken

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """End the present or the next `wait`. Not for signal handlers: they may interrupt the owner of its lock."""
        with self._condition:
            self._is_woken = True
            self._condition.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the worker is woken or stopped, at most `timeout_s`; return whether it was.

        It takes the wake-up back; a stop stays.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._is_woken or self._is_stopping, timeout_s)
            was_woken = self._is_woken or self._is_stopping
            self._is_woken = False
            return was_woken

    def ask_to_stop(self) -> None:
        """Ask the thread to end, and do not wait for that."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        self._on_stop()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Ask the thread to end and wait for that; return whether it has ended within `timeout_s`.

        A thread that was never started has ended. Raises what the target has raised.
        """
        self.ask_to_stop()
        return self.join(timeout_s)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread, as `stop` does, without asking for it."""
        has_ended = self.wait_for_end(timeout_s)
        if self.failure is not None:
            raise self.failure
        return has_ended

    def wait_for_end(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread, and leave its failure to others; return whether it has ended in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._target(self)
        except BaseException as error:  # the top of a thread: whoever joins it gets the error
            self.failure = error
        finally:
            self._on_end()
