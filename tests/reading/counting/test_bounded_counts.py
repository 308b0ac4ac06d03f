"""Counts of many things in bounded memory."""

from random import Random

from logferry.reading.counting.bounded_counts import BoundedCounts


def test_a_few_things_are_counted_exactly() -> None:
    counts = BoundedCounts[str](3)
    for thing in "abcab":
        counts.add(thing)
    assert counts.most_common() == [("a", 2), ("b", 2), ("c", 1)]
    assert counts.missed == counts.forgotten == 0


def test_of_many_things_the_most_frequent_remain_and_no_count_misses_more_than_is_said() -> None:
    random, counts = Random(7), BoundedCounts[int](100)
    true: dict[int, int] = {}
    for _ in range(20_000):
        thing = random.randrange(10) if random.random() < 0.5 else random.randrange(5_000)
        true[thing] = true.get(thing, 0) + 1
        counts.add(thing)
    assert len(counts.counts) <= 100
    assert counts.forgotten + sum(counts.counts.values()) == 20_000
    assert {thing for thing, _ in counts.most_common(10)} == set(range(10))
    assert counts.missed > 0
    for thing, count in true.items():
        assert count - counts.missed <= counts.counts.get(thing, 0) <= count
