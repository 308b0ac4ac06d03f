"""The project's own `dataclass` makes classes that do what those of the standard library do."""

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from logferry import data_classes

Maker = Callable[..., Any]


def _classes(make: Maker) -> list[Any]:
    """Return a class of each kind that the project has."""

    @make(frozen=True, slots=True)
    class Frozen:
        first: int
        second: tuple[int, ...] = (1, 2)
        hidden: str = field(default="secret", repr=False, compare=False)

    @make(slots=True)
    class Slots:
        first: int
        items: list[int] = field(default_factory=list)
        own: list[int] = field(default_factory=list, init=False)
        fixed: int = field(default=7, init=False)

    @make(slots=True, eq=False)
    class ByIdentity:
        first: int = 3

    @make(kw_only=True)
    class Plain:
        first: int
        second: str = "x"

        def __post_init__(self) -> None:
            self.second += "!"

    @make(frozen=True, kw_only=True)
    class Derived(make(frozen=True)(type("Base", (), {"__annotations__": {"base": int}, "__module__": __name__}))):  # type: ignore[misc]
        first: int

        def __repr__(self) -> str:
            return "its own"

    @make
    class Empty:
        pass

    return [Frozen, Slots, ByIdentity, Plain, Derived, Empty]


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((1, 2, 3, 4), {}),
    ((), {"first": 1}),
    ((), {"first": 1, "second": "y"}),
    ((), {"first": 1, "base": 2}),
    ((5,), {"first": 2}),
    ((), {"first": 1, "items": [3]}),
    ((), {"other": 1}),
]


def _found(work: Callable[..., Any], *words: Any, **named: Any) -> Any:
    try:
        return work(*words, **named)
    except (TypeError, AttributeError) as error:
        return type(error), str(error)


def _seen(cls: Any) -> list[Any]:
    """Return all that can be seen of a class and its instances."""
    seen: list[Any] = [cls.__name__, cls.__match_args__, [each.name for each in dataclasses.fields(cls)]]
    seen += [cls.__hash__ is None, "__dict__" in dir(cls)]
    for words, named in CALLS:
        one, same = (_found(cls, *words, **named) for _ in range(2))
        if isinstance(one, tuple):
            seen.append(one)
            continue
        seen += [repr(one), one == same, one == 1, one != same, dataclasses.asdict(one), repr(copy.copy(same))]
        seen.append(_found(hash, one) == _found(hash, same))
        seen += [_found(dataclasses.replace, same, first=8).__repr__(), _found(setattr, one, "first", 9)]
        seen.append(_found(delattr, one, "first"))
    return seen


@pytest.mark.parametrize("number", range(6))
def test_a_class_does_what_one_of_the_standard_library_does(number: int) -> None:
    ours, theirs = (_classes(make)[number] for make in (data_classes.dataclass, dataclasses.dataclass))
    assert _seen(ours) == _seen(theirs)


@data_classes.dataclass(frozen=True, slots=True)
class Pickled:
    first: int
    second: list[object] = field(default_factory=list)


def test_an_instance_survives_pickling_and_shows_itself_inside_of_itself() -> None:
    one = Pickled(1, [2])
    assert pickle.loads(pickle.dumps(one)) == one
    one.second.append(one)
    assert repr(one) == "Pickled(first=1, second=[2, ...])"


def test_each_instance_has_a_list_of_its_own() -> None:
    first, second = Pickled(1), Pickled(1)
    first.second.append(1)
    assert second.second == []
