"""The story of a place in sentences."""

from logferry.reading.stored import Log, Received
from logferry.reading.story.explanation import sentences_of
from logferry.reading.story.history import Checked, Happening, History, Kind, StoredLine

LOG = Log("key", "web-1", "/srv/app/app.log")
SOUND = Checked(2, 40_000)


def clock(time: int) -> str:
    return f"09:19:{time:02d}"


def stored(text: str, time: int, number: int | None, start: int = 0, end: int = 100) -> StoredLine:
    return StoredLine(
        text, time, Received(time, time), "web-1/app.log/2024-01-15-1.ndjson", 12_345, "s1", "c1", start, end, number
    )


def story(*happenings: Happening, checked: Checked = SOUND, left_out: int = 0) -> list[str]:
    before, after = stored("order 400", 32, 400), stored("order 601", 35, 1)
    return sentences_of(History(LOG, None, before, after, happenings, checked, left_out), clock)


def test_a_line_between_two_others_is_explained() -> None:
    assert story(
        Happening(Kind.WINDOW, 33, 35, 16_223, 16_223, reason="it was truncated"),
        Happening(Kind.STARTED, 32, 32, reason="all acked lines are there"),
    ) == [
        "Not stored. Around it: 'order 400' received 09:19:32 (about line 400 of the file), "
        "next 'order 601' received 09:19:35 (about line 1 of the file).",
        "  09:19:32  the server started; all acked lines are there",
        "  09:19:35  anything written after byte 16,223 between 09:19:33 and 09:19:35 was never seen: it was truncated",
        "Nothing that was acked is missing. (Checked: 2 stored pieces, 40,000 bytes.)",
    ]


def test_a_stored_line_has_its_place_and_its_source() -> None:
    line = StoredLine("order 5", 3, Received(2, 4), "web-1/a/1.ndjson", 12_345, "s1", "c1", 100, 2_000, 17)
    assert sentences_of(History(LOG, line, checked=SOUND), clock) == [
        "Stored: 'order 5' received between 09:19:02 and 09:19:04.",
        "  in the segment web-1/a/1.ndjson, at byte 12,345",
        "  from /srv/app/app.log of web-1, about line 17, in its bytes 100 to 2,000",
        "  as a part of the source s1, which belongs to the client c1",
        "Nothing that was acked is missing. (Checked: 2 stored pieces, 40,000 bytes.)",
    ]


def test_a_line_of_the_plain_protocol_has_no_file() -> None:
    line = StoredLine("order 5", 3, Received(), "web-1/a/1.ndjson", 0)
    assert sentences_of(History(LOG, line), clock)[0] == "Stored: 'order 5' received at a time that is not known."
    assert sentences_of(History(LOG, line), clock)[-1].endswith("says nothing about the file that it comes from")


def test_what_is_only_on_one_side_is_said() -> None:
    line = stored("order 5", 3, 5)
    assert "nothing is stored after that" in sentences_of(History(LOG, None, before=line), clock)[0]
    assert "nothing is stored before that" in sentences_of(History(LOG, None, after=line), clock)[0]
    assert "neither is any other line of /srv/app/app.log" in sentences_of(History(LOG, None), clock)[0]


def test_each_thing_that_may_have_happened_has_a_sentence() -> None:
    for kind in Kind:
        (_, sentence, *_) = story(Happening(kind, 33, 34, 10, 30, 5, "because"))
        assert sentence.startswith("  09:19:34  ")
    assert "10 to 30" in story(Happening(Kind.LOST, 33, 33, 10, 30, reason="refused"))[1]
    assert story(Happening(Kind.DELETED, None, None, 10, 30, 5))[1].startswith(
        "  (no time)  retention has deleted 5 lines"
    )


def test_nothing_is_called_complete_that_was_not_checked_or_is_not() -> None:
    complete = "Nothing that was acked is missing"
    for kind in (Kind.DAMAGED, Kind.UNACCOUNTED, Kind.DELETED):
        assert not any(complete in each for each in story(Happening(kind, None, None, 0, 10)))
    for checked in (Checked(), Checked(2, 10, problems=["x lacks bytes"]), Checked(2, 10, unchecked=["much"])):
        assert not any(complete in each for each in story(checked=checked))
    assert not any(complete in each for each in story(left_out=1))
    assert "Damaged: x lacks bytes." in story(checked=Checked(2, 10, problems=["x lacks bytes"]))
    assert "Not checked: much." in story(checked=Checked(2, 10, unchecked=["much"]))
    for kind in (Kind.LOST, Kind.SKIPPED, Kind.WINDOW):  # none of it was ever acked as stored
        assert complete in story(Happening(kind, 33, 34, 0, 10))[-1]


def test_what_clients_have_written_cannot_control_the_terminal() -> None:
    hostile = "\x1b[2J\n\u202e'" + "x" * 5000
    log = Log("key", hostile, hostile)
    line = StoredLine(hostile, 3, Received(2, 4), hostile, 1, hostile, hostile, 1, 2, 3)
    happening = Happening(Kind.LOST, 1, 1, 0, 5, reason=hostile)
    for history in (History(log, line, happenings=[happening]), History(log, None, line, line), History(log, None)):
        for sentence in sentences_of(history, clock):
            assert sentence.isprintable()
