"""`dataclass` of the standard library, made in a fifth of the time: it took a third of a process's start.

The standard library compiles six functions for each class at every start. Here most functions are the same for all
classes, and `__init__` is compiled for the first instance: a process has instances of few of the classes that it
imports. What a class and its instances do is the same. Must support no more than what this project uses.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        cls: type | None = None,
        /,
        *,
        frozen: bool = False,
        slots: bool = False,
        eq: bool = True,
        kw_only: bool = False,
    ) -> Any:
        """See the standard library."""

        def made(cls: type) -> type:
            return _made(cls, frozen=frozen, slots=slots, eq=eq, kw_only=kw_only)

        return made if cls is None else made(cls)


def _made(cls: type, *, frozen: bool, slots: bool, eq: bool, kw_only: bool) -> type:
    cls.__doc__ = cls.__doc__ or cls.__name__  # the signature, which would be shown instead, takes long to find out
    own = cls.__dict__.keys() & {"__init__", "__repr__", "__eq__", "__hash__"}
    cls = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
    functions: dict[str, object] = {"__init__": _init_at_first_use(cls, frozen=frozen), "__repr__": _repr}
    if eq:
        functions |= _comparison(cls, has_hash=frozen)
    if frozen:
        functions |= _refusals(cls)
    if frozen and slots:
        functions |= {"__getstate__": _state, "__setstate__": _set_state}
    for name, function in functions.items():
        if name not in own:
            setattr(cls, name, function)
    return cls


def _init_at_first_use(cls: Any, *, frozen: bool) -> Callable[..., None]:
    def __init__(self: object, *arguments: object, **named: object) -> None:  # noqa: N807  (as it is shown)
        cls.__init__ = init = _init_of(cls, frozen=frozen)
        init(self, *arguments, **named)

    return __init__


def _init_of(cls: Any, *, frozen: bool) -> Callable[..., None]:
    """Compile the `__init__` of a class."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": dataclasses.MISSING}
    by_place, by_name, body = ["self"], list[str](), list[str]()
    for field in dataclasses.fields(cls):
        name = value = field.name
        parameter = f"{name}=_default_{name}"
        if field.default_factory is not dataclasses.MISSING:
            known |= {f"_make_{name}": field.default_factory, f"_default_{name}": dataclasses.MISSING}
            value = f"_make_{name}() if {name} is _MISSING else {name}" if field.init else f"_make_{name}()"
        elif field.default is not dataclasses.MISSING:
            known[f"_default_{name}"] = field.default
            value = name if field.init else f"_default_{name}"
        else:
            parameter = name
        if field.init:
            (by_name if field.kw_only else by_place).append(parameter)
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join([*by_place, *(["*", *by_name] if by_name else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), known)
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _comparison(cls: type, *, has_hash: bool) -> dict[str, object]:
    values = _values_of([field.name for field in dataclasses.fields(cls) if field.compare])

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if has_hash else None}


def _values_of(names: list[str]) -> Callable[[object], object]:
    """Return a function that returns the values of some attributes as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda one: tuple(getattr(one, name) for name in names)


def _refusals(cls: type) -> dict[str, object]:
    names = {field.name for field in dataclasses.fields(cls)}

    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    return {"__setattr__": __setattr__, "__delattr__": __delattr__}


def _state(self: Any) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
