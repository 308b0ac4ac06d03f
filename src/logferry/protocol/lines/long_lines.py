"""Judges a line of many kilobytes in pieces, in bounded time and memory: `json` would hold everything for its length.

Owns the scan of a record and its state. A scan may stop after any byte and go on from its state; the compiled part has
the same function with the same state, and tests compare them at every cut. Never looks at UTF-8 (validation.py does).

A state is a bytearray, by index: MODE what may come next; FOUND which required keys were; DEPTH how many objects and
arrays are open; KEY whether a string is a key; MATCHING and MATCHED how far a key is like a required one; COUNT the
digits of an escape, or letters of a literal, so far; UNIT the value of the escape; STACK the open brackets.
"""

from collections.abc import Callable, Mapping
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern

# How many objects and arrays may lie in each other, the record included (docs/protocol.md, rule L4). No log format
# comes near. MOST_NESTED of the compiled part.
MAX_NESTING: Final = 64

HAS_LEVEL: Final = 1
HAS_MESSAGE: Final = 2

_MODE, FOUND, _DEPTH, _KEY, _MATCHING, _MATCHED, _COUNT, _UNIT_HIGH, _UNIT_LOW, _STACK = range(10)
_IS_VALUE, _IS_RECORD_KEY, _IS_OTHER_KEY = range(3)
_MATCHES_NOTHING: Final = 255
_REQUIRED: Final = (b"", b"level", b"message")  # by HAS_LEVEL and HAS_MESSAGE

# The modes, in the order of the compiled part.
_AT_RECORD, _AT_VALUE, _AT_ELEMENT, _AT_MEMBER, _AT_KEY, _AT_COLON, _AFTER_VALUE, _AT_END = range(8)
_IN_STRING, _IN_ESCAPE, _IN_HEX, _IN_TRUE, _IN_FALSE, _IN_NULL = range(8, 14)
_AFTER_MINUS, _AFTER_ZERO, _IN_INTEGER, _AFTER_POINT, _IN_FRACTION, _AFTER_E, _AFTER_SIGN, _IN_EXPONENT = range(14, 22)
_REFUSED: Final = 255

_LITERALS: Final = {_IN_TRUE: b"true", _IN_FALSE: b"false", _IN_NULL: b"null"}

# Whole characters of a string: the end of a part may leave an escape to `_take_escape`.
_characters: Final = compile_pattern(rb'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+')


def new_state() -> bytearray:
    """Return the state before the first byte of a record."""
    return bytearray(_STACK + MAX_NESTING)


def is_whole(state: bytearray) -> bool:
    """Whether the bytes so far are a whole record."""
    return state[_MODE] == _AT_END


def is_nested_too_deeply(state: bytearray) -> bool:
    """Whether a scan ended because of MAX_NESTING."""
    return state[_DEPTH] > MAX_NESTING


def scan(data: bytes, start: int, end: int, state: bytearray) -> bool:
    """Take bytes of a record, and change `state`; return False at the first that is not JSON or is nested too deeply.

    After that the state means nothing more, but for `is_nested_too_deeply`.
    """
    return (speedups.compiled.scan_record if speedups.compiled else scan_record)(data, start, end, state)


def scan_record(data: bytes, start: int, end: int, state: bytearray) -> bool:
    """Do as `scan` does, without the compiled part."""
    at, mode = start, state[_MODE]
    while at < end:
        if mode == _IN_STRING and not _is_matching(state):
            match = _characters.match(data, at, end)
            assert match  # it may be empty
            at = match.end()
            if at == end:
                break
        byte = data[at]
        step = _STEPS[mode].get(byte, _REFUSED)
        mode = step if isinstance(step, int) else step(state, mode, byte)
        if mode == _REFUSED:
            return False
        at += 1
    state[_MODE] = mode
    return True


# --- strings


def _is_matching(state: bytearray) -> bool:
    """Whether a string may still turn out to be a required key."""
    return state[_KEY] == _IS_RECORD_KEY and state[_MATCHED] != _MATCHES_NOTHING


def _begin_string(state: bytearray, mode: int, _: int) -> int:
    is_key = mode in (_AT_MEMBER, _AT_KEY)
    state[_KEY] = (_IS_RECORD_KEY if state[_DEPTH] == 1 else _IS_OTHER_KEY) if is_key else _IS_VALUE
    state[_MATCHING] = state[_MATCHED] = 0
    return _IN_STRING


def _end_string(state: bytearray, _: int, __: int) -> int:
    if state[_KEY] == _IS_VALUE:
        return _AFTER_VALUE
    if _is_matching(state) and 0 < state[_MATCHED] == len(_REQUIRED[state[_MATCHING]]):
        state[FOUND] |= state[_MATCHING]
    return _AT_COLON


def _take_character(state: bytearray, _: int, character: int) -> int:
    """Compare the next character of a key of the record with those of the required keys."""
    if not _is_matching(state):
        return _IN_STRING
    if not state[_MATCHED]:
        state[_MATCHING] = {ord("l"): HAS_LEVEL, ord("m"): HAS_MESSAGE}.get(character, 0)
    wanted, matched = _REQUIRED[state[_MATCHING]], state[_MATCHED]
    is_like_it = matched < len(wanted) and wanted[matched] == character
    state[_MATCHED] = matched + 1 if is_like_it else _MATCHES_NOTHING
    return _IN_STRING


def _take_escape(state: bytearray, mode: int, _: int) -> int:
    return _take_character(state, mode, _MATCHES_NOTHING)


def _begin_hex(state: bytearray, _: int, __: int) -> int:
    state[_COUNT] = state[_UNIT_HIGH] = state[_UNIT_LOW] = 0
    return _IN_HEX


def _take_hex(state: bytearray, mode: int, digit: int) -> int:
    unit = state[_UNIT_HIGH] << 12 | state[_UNIT_LOW] << 4 | int(chr(digit), 16)
    state[_UNIT_HIGH], state[_UNIT_LOW] = unit >> 8 & 255, unit & 255
    state[_COUNT] += 1
    if state[_COUNT] < 4:
        return _IN_HEX
    return _take_character(state, mode, min(unit & 0xFFFF, _MATCHES_NOTHING))


# --- literals, objects and arrays


def _take_letter(state: bytearray, mode: int, letter: int) -> int:
    literal = _LITERALS[mode]
    if literal[state[_COUNT]] != letter:
        return _REFUSED
    state[_COUNT] += 1
    return _AFTER_VALUE if state[_COUNT] == len(literal) else mode


def _begin_literal(state: bytearray, _: int, letter: int) -> int:
    state[_COUNT] = 1
    return {ord("t"): _IN_TRUE, ord("f"): _IN_FALSE, ord("n"): _IN_NULL}[letter]


def _open(state: bytearray, _: int, bracket: int) -> int:
    state[_DEPTH] += 1
    if state[_DEPTH] > MAX_NESTING:
        return _REFUSED
    state[_STACK + state[_DEPTH] - 1] = bracket
    return _AT_MEMBER if bracket == ord("{") else _AT_ELEMENT


def _innermost(state: bytearray) -> int:
    """Return the bracket that opened the innermost object or array."""
    return state[_STACK + state[_DEPTH] - 1]


def _close(state: bytearray, _: int, bracket: int) -> int:
    if _innermost(state) != (ord("{") if bracket == ord("}") else ord("[")):
        return _REFUSED
    state[_DEPTH] -= 1
    return _AFTER_VALUE if state[_DEPTH] else _AT_END


def _take_comma(state: bytearray, _: int, __: int) -> int:
    return _AT_KEY if _innermost(state) == ord("{") else _AT_VALUE


# --- what a byte means in each mode: the next mode, or a function that decides it

_Step = int | Callable[[bytearray, int, int], int]


def _by_byte(*steps: tuple[bytes, _Step]) -> Mapping[int, _Step]:
    return {byte: step for bytes_, step in steps for byte in bytes_}


def _between(mode: int, *steps: tuple[bytes, _Step]) -> Mapping[int, _Step]:
    return _by_byte((b" \t\r", mode), *steps)


_DIGITS: Final = b"0123456789"
_VALUE: Final = (
    *((b'"', _begin_string), (b"{[", _open), (b"tfn", _begin_literal)),
    *((b"-", _AFTER_MINUS), (b"0", _AFTER_ZERO), (b"123456789", _IN_INTEGER)),
)
_POINT: Final = (b".", _AFTER_POINT)
_EXPONENT: Final = (b"eE", _AFTER_E)
_AFTER: Final = ((b" \t\r", _AFTER_VALUE), (b",", _take_comma), (b"}]", _close))

_STEPS: Final[Mapping[int, Mapping[int, _Step]]] = {
    _AT_RECORD: _between(_AT_RECORD, (b"{", _open)),
    _AT_VALUE: _between(_AT_VALUE, *_VALUE),
    _AT_ELEMENT: _between(_AT_ELEMENT, *_VALUE, (b"]", _close)),
    _AT_MEMBER: _between(_AT_MEMBER, (b'"', _begin_string), (b"}", _close)),
    _AT_KEY: _between(_AT_KEY, (b'"', _begin_string)),
    _AT_COLON: _between(_AT_COLON, (b":", _AT_VALUE)),
    _AFTER_VALUE: _by_byte(*_AFTER),
    _AT_END: _between(_AT_END),
    _IN_STRING: _by_byte((bytes(range(0x20, 0x100)), _take_character), (b'"', _end_string), (b"\\", _IN_ESCAPE)),
    _IN_ESCAPE: _by_byte((b'"\\/bfnrt', _take_escape), (b"u", _begin_hex)),
    _IN_HEX: _by_byte((b"0123456789abcdefABCDEF", _take_hex)),
    **{mode: _by_byte((bytes(set(literal)), _take_letter)) for mode, literal in _LITERALS.items()},
    _AFTER_MINUS: _by_byte((b"0", _AFTER_ZERO), (b"123456789", _IN_INTEGER)),
    _AFTER_ZERO: _by_byte(_POINT, _EXPONENT, *_AFTER),
    _IN_INTEGER: _by_byte((_DIGITS, _IN_INTEGER), _POINT, _EXPONENT, *_AFTER),
    _AFTER_POINT: _by_byte((_DIGITS, _IN_FRACTION)),
    _IN_FRACTION: _by_byte((_DIGITS, _IN_FRACTION), _EXPONENT, *_AFTER),
    _AFTER_E: _by_byte((_DIGITS, _IN_EXPONENT), (b"+-", _AFTER_SIGN)),
    _AFTER_SIGN: _by_byte((_DIGITS, _IN_EXPONENT)),
    _IN_EXPONENT: _by_byte((_DIGITS, _IN_EXPONENT), *_AFTER),
}
