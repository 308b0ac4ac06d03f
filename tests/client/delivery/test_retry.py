"""How long the client waits after failures in a row."""

from logferry.client.delivery.retry import Backoff


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
