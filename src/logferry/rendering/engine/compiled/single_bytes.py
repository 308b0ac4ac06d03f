"""Writes the code for what is about single bytes, or a few of them: their comparison, and choices by the next byte."""

from collections.abc import Sequence

from logferry.rendering.engine.compiled.assembly import FAILURE, Assembler, Label
from logferry.rendering.engine.compiled.assembly import Instruction as Op
from logferry.rendering.engine.compiled.shapes import LONGEST, Bounds, bytes_in, exact_bounds, outer_bounds
from logferry.rendering.engine.compiled.tree import ALL, NEWLINE, Behind


def choose(code: Assembler, labels: Sequence[Label], begins: Sequence[int]) -> bool:
    """Write a choice of places by the next byte."""
    table: list[tuple[int, tuple[Label, ...]]] = [(ALL, ())]
    for label, found in zip(labels, begins, strict=True):
        halves = [(each & found, (*places, label)) for each, places in table]
        table = [half for half in halves + [(each & ~found, places) for each, places in table] if half[0]]
    code.add(Op.CHOOSE, code.table_number(table))
    return any(len(places) > 1 for _, places in table)


def compare_bytes(code: Assembler, sets: list[int]) -> None:
    """Write the comparison of the next bytes, each with a set."""
    if not all(sets):
        code.add(Op.GO, FAILURE)
        return
    at = 0
    while at < len(sets):
        bounds, checks = _bounds(sets[at : at + LONGEST])
        if len(bounds) < 2:
            _byte(code, sets[at])
            at += 1
            continue
        code.add(Op.SHAPE, code.shape_number(bounds), len(bounds))
        for place in checks:
            code.add(Op.BEHIND, len(bounds) - place, code.set_number(sets[at + place]))
        at += len(bounds)


def _bounds(sets: list[int]) -> tuple[list[Bounds], list[int]]:
    """Return the bounds of the first sets that have bounds, and which of them do not fit exactly."""
    found, inexact = list[Bounds](), list[int]()
    for place, each in enumerate(sets):
        exact = exact_bounds(each)
        bounds = exact or outer_bounds(each)
        if bounds is None:
            break
        found.append(bounds)
        if exact is None:
            inexact.append(place)
    return found, inexact


def _byte(code: Assembler, found: int) -> None:
    values = bytes_in(found)
    if len(values) == 1:
        code.add(Op.CHAR, values[0])
    else:
        code.add(Op.SET, code.set_number(found))


def look_at_once(code: Assembler, sets: list[int], is_negated: bool) -> bool:
    """Write a look at a byte, or at a few that have a shape; return whether that is possible."""
    if len(sets) == 1:
        found = ALL & ~sets[0] if is_negated else sets[0]
        code.add(Op.PEEK, code.set_number(found))
        return True
    if len(sets) > LONGEST or any(each & NEWLINE or not each for each in sets):
        return False
    bounds = [each for each in map(exact_bounds, sets) if each]
    if len(bounds) < len(sets):
        return False
    code.add(Op.PEEK_NOT if is_negated else Op.PEEK_SHAPE, code.shape_number(bounds))
    return True


def look_behind(code: Assembler, node: Behind) -> None:
    """Write a look at what is right behind."""
    if node.is_negated:
        code.add(Op.NOT_BEHIND, code.set_number(node.sets[0]))
        return
    for distance, found in zip(range(len(node.sets), 0, -1), node.sets, strict=True):
        code.add(Op.BEHIND, distance, code.set_number(found))
