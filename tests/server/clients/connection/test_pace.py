"""How fast a client sends, and for how long it has been too slow."""

from logferry.server.clients.connection.pace import Pace


def test_a_client_that_sends_fast_enough_is_never_behind() -> None:
    pace = Pace()
    pace.start(100.0, 0)
    assert all(pace.behind_s(100 + second, second * 1000, 1000) <= 0 for second in range(1, 10))


def test_what_was_sent_faster_than_necessary_does_not_count_later() -> None:
    pace = Pace()
    pace.start(100.0, 500)
    assert pace.behind_s(100.25, 100_500, 1000) < 0
    assert [pace.behind_s(100.25 + behind, 100_500, 1000) for behind in (0.5, 1.0)] == [0.5, 1.0]


def test_a_client_that_was_too_slow_can_catch_up() -> None:
    pace = Pace()
    pace.start(100.0, 0)
    assert pace.behind_s(101.0, 100, 1000) == 0.9
    assert pace.behind_s(101.5, 1500, 1000) <= 0
