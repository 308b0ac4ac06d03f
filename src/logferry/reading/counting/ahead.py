"""Counts chunks in a thread of its own while the next ones are read: the compiled part lets other threads run.

Owns that thread. At most three chunks are in memory; results come in the order of the chunks. Never reads a store.
"""

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue

from logferry.reading.counting.chunk_counting import ChunkCounting, Counted
from logferry.reading.stored import Chunk, Log

_Done = tuple[Log, list[Counted], BaseException | None]

_WAITING = 2


def counted_ahead(counting: ChunkCounting, chunks: Iterable[Chunk]) -> Iterator[tuple[Log, list[Counted]]]:
    """Yield what is counted in each chunk, with its log. Raises what reading or counting a chunk raises."""
    todo: SimpleQueue[Chunk | None] = SimpleQueue()
    done: SimpleQueue[_Done] = SimpleQueue()
    thread = threading.Thread(target=_count, args=(counting, todo, done), name="logferry-counting", daemon=True)
    thread.start()
    pending = 0
    try:
        for chunk in chunks:
            todo.put(chunk)
            pending += 1
            if pending > _WAITING:
                pending -= 1
                yield _taken(done)
        for _ in range(pending):
            yield _taken(done)
    finally:
        todo.put(None)
        thread.join()


def _taken(done: "SimpleQueue[_Done]") -> tuple[Log, list[Counted]]:
    log, counted, error = done.get()
    if error is not None:
        raise error
    return log, counted


def _count(counting: ChunkCounting, todo: "SimpleQueue[Chunk | None]", done: "SimpleQueue[_Done]") -> None:
    while (chunk := todo.get()) is not None:
        try:
            done.put((chunk.log, list(counting.of_chunk(chunk)), None))
        except BaseException as error:  # for the thread that waits for the result
            done.put((chunk.log, [], error))
