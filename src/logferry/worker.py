"""Background threads: every one of them is started, woken and stopped in the same way.

A worker owns its thread, the request to stop, and the exception that ended the thread. The target decides what the
thread does; a target that must survive errors handles them itself.
"""

import threading
from collections.abc import Callable


def _nothing() -> None:
    pass


class Worker:
    """A named daemon thread. `target` runs in it and receives the worker, to wait and to notice the stop.

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
        """`stop` calls `on_stop`, for a target that waits for something other than its worker.

        The thread calls `on_end` when the target has ended, after setting `failure`.
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
        """Whether `wake` was called since the last `wait`: the next `wait` returns immediately."""
        return self._is_woken

    @property
    def is_running(self) -> bool:
        """Whether the thread was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """End the current or the next `wait`. Not for signal handlers, which may interrupt the holder of the lock."""
        with self._condition:
            self._is_woken = True
            self._condition.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait at most `timeout_s` until the worker is woken or stopped; return whether it was.

        This clears the wake-up; the request to stop remains.
        """
        with self._condition:
            self._condition.wait_for(lambda: self._is_woken or self._is_stopping, timeout_s)
            was_woken = self._is_woken or self._is_stopping
            self._is_woken = False
            return was_woken

    def ask_to_stop(self) -> None:
        """Ask the thread to end; do not wait until it has ended."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        self._on_stop()

    def stop(self, timeout_s: float | None = None) -> bool:
        """Ask the thread to end and wait at most `timeout_s`; return whether it has ended.

        A thread that was never started counts as ended. Raises the exception of the target, if there was one.
        """
        self.ask_to_stop()
        return self.join(timeout_s)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread, as `stop` does, without requesting it."""
        has_ended = self.wait_for_end(timeout_s)
        if self.failure is not None:
            raise self.failure
        return has_ended

    def wait_for_end(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread without raising its failure; return whether it has ended in time."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._target(self)
        except BaseException as error:  # the top of a thread: the thread that joins it gets the error
            self.failure = error
        finally:
            self._on_end()
