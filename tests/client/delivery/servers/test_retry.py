"""How long the client waits after failures in a row."""

import logging
from pathlib import Path

import pytest

from logferry.client.delivery.servers.retry import Attempts, Backoff
from logferry.errors import DeliveryError, NotALogServer, NotAuthorised, Unreachable
from tests.support.shipping import ship_settings


def test_the_backoff_doubles_up_to_its_ceiling_and_half_of_it_is_random() -> None:
    """Rule C6."""
    shortest = Backoff(uniform=lambda: 0.0)
    longest = Backoff(uniform=lambda: 1.0)
    assert [shortest.delay_s(failures) for failures in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert [longest.delay_s(failures) for failures in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert longest.delay_s(10**9) == 30


def test_the_jitter_is_really_random_and_within_its_bounds() -> None:
    delays = {Backoff().delay_s(3) for _ in range(100)}
    assert len(delays) > 50
    assert all(1 <= delay <= 2 for delay in delays)


def test_an_outage_fills_no_log_and_its_end_says_how_often_it_was_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="logferry.client.delivery.servers.retry")
    attempts = Attempts(ship_settings(tmp_path / "app.log", 9000, mode="continuous"), Backoff())
    for _ in range(100):
        attempts.failed(Unreachable("cannot connect to h\x1b: Connection refused"), "0 lines")
    assert [message.partition(" in a row")[0] for message in caplog.messages] == [
        f"cannot connect to h\\x1b: Connection refused; failure {number}" for number in (1, 2, 3)
    ]
    attempts.succeeded()
    attempts.succeeded()
    assert len(caplog.messages) == 4
    assert caplog.messages[-1].startswith("the server answers again (repeated 97 times in ")


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (NotAuthorised("not authorised: wrong token"), "the server admits this client now"),
        (NotALogServer("h:1 is not a Logferry server"), "the server answers as a log server now"),
    ],
)
def test_the_end_of_a_trouble_says_which_trouble_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: DeliveryError, end: str
) -> None:
    caplog.set_level(logging.INFO, logger="logferry.client.delivery.servers.retry")
    attempts = Attempts(ship_settings(tmp_path / "app.log", 9000, mode="continuous"), Backoff())
    for _ in range(9):
        attempts.failed(error, "0 lines")
    attempts.welcomed()
    assert caplog.messages[-1].startswith(f"{end} (repeated ")
