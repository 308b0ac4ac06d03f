"""What every StatusSource does, whichever end it is of: a test module subclasses this and says how to make one."""

from collections.abc import Sequence

from logferry.telemetry.status_source import Snapshot, StatusSource, Verdict
from logferry.telemetry.table import Kind, Metric


class StatusSourceContract:
    """The suite. `source` and `work` are for the subclass; `metrics` is its end's part of the table."""

    metrics: Sequence[Metric]

    def source(self) -> StatusSource:
        """Return one that is ready and has counted nothing."""
        raise NotImplementedError

    def work(self, source: StatusSource) -> None:
        """Let it count something."""
        raise NotImplementedError

    def break_down(self, source: StatusSource) -> None:
        """Let it no longer do its work."""
        raise NotImplementedError

    def test_it_gives_every_declared_counter_and_gauge_and_no_other(self) -> None:
        snapshot = self.source().snapshot()
        plain = [each for each in self.metrics if not each.label]
        assert list(snapshot.counters) == [each.name for each in plain if each.kind is Kind.COUNTER]
        gauges = [each for each in plain if each.kind is Kind.GAUGE]
        is_given = [each.name for each in gauges if each.name in snapshot.gauges or not each.is_optional]
        assert list(snapshot.gauges) == is_given
        assert {*snapshot.labelled} == {each.name for each in self.metrics if each.label}

    def test_counters_grow_and_an_earlier_snapshot_does_not_change(self) -> None:
        source = self.source()
        before = source.snapshot()
        copied = dict(before.counters)
        self.work(source)
        after = source.snapshot()
        assert all(after.counters[name] >= value for name, value in copied.items())
        assert after.counters != copied
        assert before.counters == copied

    def test_one_that_does_its_work_is_ready_and_one_that_does_not_says_why(self) -> None:
        source = self.source()
        assert source.snapshot().verdict == Verdict.ready()
        self.break_down(source)
        verdict = source.snapshot().verdict
        assert not verdict.is_ready
        assert verdict.reason


class FixedStatus:
    """A StatusSource in memory, for tests of what shows one."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot

    def snapshot(self) -> Snapshot:
        """See StatusSource."""
        return self.current
