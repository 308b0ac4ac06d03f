"""Puts records together where the compiled part has left some lines to Python."""


def with_gaps_filled(payload: bytes, others: bytes, gaps: list[tuple[int, int]]) -> bytes:
    """Put other records into the gaps of a payload: each gap has an offset and a number of records."""
    if not payload:
        return others
    records = others.split(b"\n")
    pieces = list[bytes]()
    done = at = 0
    for offset, count in gaps:
        pieces += payload[at:offset], b"\n".join(records[done : done + count]), b"\n"
        done += count
        at = offset
    return b"".join([*pieces, payload[at:]])
