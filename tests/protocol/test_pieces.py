"""The bytes of an incomplete message, in pieces that stay where they are."""

import pytest

from logferry.protocol.pieces import Pieces

KIB = 1024


@pytest.mark.parametrize("size", [1, 100, 4 * KIB, 16 * KIB, 70 * KIB, 190 * KIB, 256 * KIB])
def test_what_is_taken_is_what_was_added(size: int) -> None:
    pieces = Pieces()
    data = bytes(number % 251 for number in range(size + 20))
    for start, end in ((0, None), (10, None), (0, 10), (5, 5)):
        pieces.add(data, start, end)
    expected = data + data[10:] + data[:10]
    assert pieces.size == len(expected)
    assert pieces.take() == expected
    assert (pieces.size, pieces.take()) == (0, b"")


def test_small_pieces_are_joined_to_blocks_and_a_large_one_is_not_copied() -> None:
    pieces = Pieces()
    for _ in range(100_000):
        pieces.add(b"x")
    large = b"y" * 256 * KIB
    pieces.add(large)
    pieces.add(large, 100 * KIB)
    held = pieces._pieces
    assert len(held) == 4
    assert [isinstance(piece, memoryview) and piece.obj is large for piece in held] == [False, False, True, False]


def test_what_is_cleared_is_gone() -> None:
    pieces = Pieces()
    pieces.add(b"abc")
    pieces.clear()
    pieces.add(b"d")
    assert pieces.take() == b"d"
