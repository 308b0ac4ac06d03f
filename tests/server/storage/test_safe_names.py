"""Safe names: folders that people recognise, whatever a client sends."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.server.storage import safe_names
from logferry.server.storage.safe_names import hashed_name, safe_name

# Besides any text: what looks like a changed name, and what is hard to cut.
texts = st.one_of(
    st.text(),
    st.text(alphabet="a.-_09f/\\ \n\x1b\u202e\u0301é字ж\U00010400", max_size=300),
    st.sampled_from(["", ".", "..", "-", "x-0a1b2c3d", "2026-01-01-1.ndjson", "2026-01-01-1.ndjson.journal", "\ud800"]),
    st.integers(1, 300).map(lambda count: "字" * count),
)


@given(texts)
def test_a_safe_name_is_one_folder_below_its_parent(text: str) -> None:
    name = safe_name(text)
    assert name
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 209
    assert len(hashed_name(name, "x").encode()) <= 220
    assert name.isprintable()
    assert unicodedata.is_normalized("NFC", name)
    assert not unicodedata.category(name[0]).startswith("M")


@given(texts, texts)
def test_different_texts_get_different_safe_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(texts)
def test_no_text_has_the_safe_name_that_another_one_is_changed_into(text: str) -> None:
    assert safe_name(safe_name(text)) == safe_name(text) == text or safe_name(safe_name(text)) != safe_name(text)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "app.log",
            "a_b-c.1",
            "журнал.log",
            "größe",
            "日志",
            "ログ",
            "로그",
            "سجل",
            "לוג",
            "देवनागरी",
            "தமிழ்",
            "เริ่ม",
            "٣.log",
        ),
        *("x" * 100, "ж" * 65, "字" * 43),
    ],
)
def test_names_of_every_script_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a b", "a_b"),
        ("app.log\n", "app.log_"),
        ("a\x1b[31m", "a__31m"),
        ("x\u202egol.exe", "x_gol.exe"),  # reorders what follows
        ("a\u200bb", "a_b"),
        ("a\u2066b\u2069", "a_b_"),
        ("a\ufe0f", "a_"),  # nobody sees it
        ("\u3164", "_"),
        ("a/b", "a_b"),
        ("a\u2215b", "a_b"),  # looks like a separator
        ("\u0301a", "_a"),
        ("e\u0301", "é"),  # not NFC
        ("..", "_"),
        (".bashrc", "_bashrc"),
        ("C:\\logs", "C__logs"),
        ("\ud800", "_"),
        ("2026-01-01-1.ndjson", "2026-01-01-1.ndjson"),
        ("2026-01-01-1.ndjson.gz", "2026-01-01-1.ndjson.gz"),
        ("x" * 101, "x" * 100),
        ("字" * 44, "字" * 43),
        ("a-0123abcd", "a-0123abcd"),
    ],
)
def test_everything_else_is_changed_and_gets_a_hash(name: str, kept: str) -> None:
    assert safe_name(name) == hashed_name(name, name)
    assert safe_name(name)[:-9] == kept


def test_names_are_ascii_where_the_file_system_has_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_names, "_IS_UTF_8", False)
    safe_names._stays.cache_clear()
    assert safe_name("журнал.log").startswith("______.log-")
    assert safe_name("app.log") == "app.log"
    safe_names._stays.cache_clear()


def test_a_name_that_takes_long_to_normalise_is_cut_first() -> None:
    """Sorting a million marks takes minutes."""
    assert len(safe_name("a" + "\u0301\u0316" * 500_000)) < 120
