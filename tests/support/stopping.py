"""Stop signals for tests: each is closed when its test ends, whatever the test did with it."""

from logferry.client.net.waiting.wakeup import StopSignal

_open: list[StopSignal] = []


def stop_signal() -> StopSignal:
    """Return a new stop signal that `close_stop_signals` will close."""
    stop = StopSignal()
    _open.append(stop)
    return stop


def close_stop_signals() -> None:
    """Close the stop signals of a test that has ended."""
    while _open:
        _open.pop().close()
