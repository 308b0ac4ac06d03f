"""Failures in a row: how long to wait after each of them, and when it is time to give up."""

import logging
from typing import Final

from logferry.client.net.connect import Backoff
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, GaveUp

logger = logging.getLogger(__name__)

_AUTO_ATTEMPTS: Final = 5


class Attempts:
    """Counts connections that failed since a line was last answered."""

    def __init__(self, settings: ShipSettings, backoff: Backoff) -> None:
        attempts = settings.max_attempts
        if attempts is None:
            is_patient = settings.resilient or settings.mode == "continuous"
            attempts = 0 if is_patient else _AUTO_ATTEMPTS
        self._most = attempts
        self._backoff = backoff
        self._failures = 0

    def succeeded(self) -> None:
        """A line was answered, that is: an answer to a hello or an open delivers nothing."""
        self._failures = 0

    def failed(self, error: DeliveryError, unacked: str) -> float:
        """Count a failure; return how many seconds to wait. Raises GaveUp, which says what is `unacked`."""
        self._failures += 1
        if self._most and self._failures >= self._most:
            raise GaveUp(f"{error}; gave up after {self._failures} failures in a row, {unacked}") from error
        delay_s = self._backoff.delay_s(self._failures)
        if self._failures & (self._failures - 1) == 0:  # 1, 2, 4, 8...: an outage of hours fills no log
            logger.warning("%s; failure %d in a row, trying again in %.1f s", error, self._failures, delay_s)
        return delay_s
