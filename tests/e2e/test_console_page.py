"""The page of the console in a real browser, over lines in memory: what it shows, and how it is used."""

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.console.source import Gap
from logferry.console.stored.stored_source import StoredSource
from logferry.reading.query.records import utc
from tests.support.browser import PHONE, Browser, browser, picture
from tests.support.console import Console, MemorySource, running_console
from tests.support.looking import three_hosts
from tests.support.running import wait_until

MINUTE = 60_000
TOKEN = "correct-horse-battery-staple-0123"

TEXTS = (
    (40, "INFO", "order {n} paid by card in {m} ms"),
    (40, "INFO", "GET /api/orders/{n} 200 {m} ms"),
    (10, "DEBUG", "cache hit for session {n}"),
    (5, "WARN", "slow query: {m}0 ms, SELECT * FROM orders WHERE id = {n}"),
    (20, "INFO", "user {n} logged in"),
    (1, "ERROR", "timeout after {m} ms waiting for the inventory of order {n}"),
)
ERROR = "Payment gateway unhealthy: connection refused (10.0.3.7:443)"
HOSTILE = "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'> \x1b[31mred \u202egnp.exe"


def shop(source: MemorySource, now: int) -> None:
    """Fill a source with a quarter of an hour of a shop in which a payment gateway fails for a minute."""
    chance = random.Random(4)
    moment, number = now - 14 * MINUTE, 0
    while moment < now - 2000:
        fails = now - 6 * MINUTE < moment < now - 5 * MINUTE
        moment += round(chance.expovariate(1 / (90 if fails else 420)))
        number += 1
        (_, level, text) = chance.choices(TEXTS, [weight for weight, *_ in TEXTS])[0]
        if fails and chance.random() < 0.4:
            level, text = "ERROR", ERROR
        host = chance.choice(["web-1", "web-2", "web-3", "db-1"])
        name = "postgres.log" if host == "db-1" else chance.choice(["app.log", "pay.log"])
        record = {
            "level": level,
            "message": text.format(n=number, m=chance.randint(2, 900)),
            "request": f"{chance.getrandbits(32):08x}",
        }
        source.add(json.dumps(record).encode(), host=host, path=f"/var/log/shop/{name}", time=moment)
    source.checked_at = now - 2 * MINUTE
    end = now - 9 * MINUTE
    source.known_gaps = [
        Gap("web-1", "/var/log/shop/app.log", end - 8000, end, "unknown", "truncated at byte 16,223"),
    ]


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    shop(source, round(time.time() * 1000))
    return source


@pytest.fixture
def console(source: MemorySource) -> Iterator[Console]:
    with running_console(source) as running:
        yield running


@pytest.fixture(scope="module")
def one_browser() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture
def chromium(one_browser: Browser) -> Iterator[Browser]:
    one_browser.begin()
    yield one_browser
    assert one_browser.problems == []


def rows(page: Any) -> list[str]:
    """Return the texts of the rows that are in the page."""
    return [row.inner_text() for row in page.query_selector_all(".row")]


def summary(page: Any) -> str:
    return str(page.inner_text("#histogram-summary"))


def shows(page: Any, text: str) -> None:
    """Wait until the page has a text."""
    page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)


def test_a_person_finds_an_error(console: Console, chromium: Browser) -> None:
    with chromium.page(console.url) as page:
        page.wait_for_selector(".row")
        shows(page, "1 known gap")
        picture(page, "console-logs")
        page.keyboard.press("/")
        page.keyboard.type("gateway level:error -web-2")
        page.wait_for_function("() => document.querySelectorAll('.row mark').length > 5")
        assert all("ERROR" in row or "never seen" in row for row in rows(page))
        assert [chip.inner_text() for chip in page.query_selector_all("#chips span")] == [
            "gateway",
            "level:error",
            "-web-2",
        ]
        assert "q=gateway" in page.url
        page.click("#chips li:first-child button")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.row .m')].some((row) => row.innerText.includes('timeout'))"
        )
        page.go_back()
        page.wait_for_function("() => document.querySelector('.row .m mark')?.innerText === 'gateway'")
        address = page.url
    with chromium.page(address) as page:
        page.wait_for_selector(".row mark")
        assert page.input_value("#q") == "gateway level:error -web-2"
    assert chromium.hosts == {f"{console.host}:{console.port}"}


def test_the_histogram_zooms_by_a_drag_and_opens_a_bar_by_a_click(console: Console, chromium: Browser) -> None:
    with chromium.page(console.url) as page:
        page.wait_for_selector("rect.bar-error")
        whole = summary(page)
        tall = max(page.query_selector_all("rect.bar-error"), key=lambda bar: bar.bounding_box()["height"])
        box, bars = tall.bounding_box(), page.query_selector("#bars").bounding_box()
        page.mouse.move(box["x"] - 30, bars["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 40, bars["y"] + 40, steps=4)
        page.mouse.up()
        page.wait_for_url(re.compile("since=.*until="))
        page.wait_for_function("whole => document.querySelector('#histogram-summary').innerText !== whole", arg=whole)
        page.wait_for_selector("rect.bar-error")
        assert page.input_value("#range") == "custom"
        page.click("rect.bar-error >> nth=0", force=True)
        page.wait_for_selector(".row")
        page.focus("#bars")
        page.keyboard.press("Escape")
        page.wait_for_url(re.compile(r"\?range=15m$"))


def test_keys_move_and_open_lines(console: Console, chromium: Browser) -> None:
    with chromium.page(console.url) as page:
        page.wait_for_selector(".row")
        page.keyboard.press("N")
        page.wait_for_selector('.row.error[aria-selected="true"]')
        first = page.get_attribute("#list", "aria-activedescendant")
        page.keyboard.press("k")
        page.wait_for_function(
            "id => document.querySelector('#list').getAttribute('aria-activedescendant') !== id", arg=first
        )
        page.keyboard.press("j")
        page.wait_for_selector(f"#{first}[aria-selected='true']")
        page.keyboard.press("Enter")
        page.wait_for_selector("#details .around .this")
        picture(page, "console-line")
        page.click("text=Raw")
        page.wait_for_selector("#details pre.raw")
        assert json.loads(page.inner_text("#details pre.raw"))["level"] == "ERROR"
        page.keyboard.press("Escape")
        page.wait_for_selector("#details", state="hidden")
        page.keyboard.press("?")
        page.wait_for_selector("#help[open]")
        page.keyboard.press("Escape")
        page.keyboard.press(" ")
        page.wait_for_selector('#live[aria-pressed="true"]')


def test_a_live_tail_waits_for_who_reads_further_up(console: Console, source: MemorySource, chromium: Browser) -> None:
    with chromium.page(f"{console.url}?live=1") as page:
        page.wait_for_selector(".row")
        wait_until(lambda: source.running == 1, "the tail runs")
        source.add(b'{"level": "INFO", "message": "the newest of all"}', time=round(time.time() * 1000))
        shows(page, "the newest of all")
        page.keyboard.press("g")
        for number in range(3):
            source.add(b'{"level": "INFO", "message": "more %d"}' % number, time=round(time.time() * 1000))
        shows(page, "3 new lines")
        page.click("#arrived")
        shows(page, "more 2")
        page.wait_for_selector("#arrived", state="hidden")
    wait_until(lambda: source.running == 0, "a closed tab ends its tail", deadline_s=1.0)


def test_ten_thousand_lines_are_in_the_list_and_few_in_the_page(source: MemorySource, chromium: Browser) -> None:
    now = round(time.time() * 1000)
    source.known_gaps = []
    for number in range(12_000):
        source.add(b'{"level": "INFO", "message": "many %d"}' % number, host="many", time=now - 60_000 + 4 * number)
    with running_console(source) as console, chromium.page(f"{console.url}?range=15m&host=many") as page:
        page.wait_for_selector(".row")
        shows(page, "12,000 lines")
        for _ in range(40):
            size = int(page.get_attribute(".row", "aria-setsize"))
            if size >= 12_000:
                break
            page.keyboard.press("g")
            page.wait_for_function("size => Number(document.querySelector('.row')?.ariaSetSize) > size", arg=size)
        assert size == 12_000
        page.keyboard.press("g")
        shows(page, "many 0\n")
        assert len(rows(page)) < 100


def test_hostile_lines_are_text(console: Console, source: MemorySource, chromium: Browser) -> None:
    now = round(time.time() * 1000)
    content = json.dumps({"level": HOSTILE, "message": HOSTILE, HOSTILE: HOSTILE}).encode()
    source.add(content, host=HOSTILE, path=f"/tmp/{HOSTILE}", time=now)
    source.add(b'{"level": "INFO", "message": "' + b"x" * 1_000_000 + b'"}', host=HOSTILE, time=now)
    with chromium.page(console.url) as page:
        page.wait_for_selector(".row")
        shows(page, "<script>window.broken")
        text = page.inner_text("#list")
        assert "\u202e" not in text
        assert "\x1b" not in text
        page.click(".row:has-text('gnp.exe')")
        page.wait_for_selector("#details .fields")
        page.click("text=Raw")
        page.wait_for_selector("#details pre.raw")
        for tab in ("hosts", "proof", "storage"):
            page.click(f"#tab-{tab}")
            page.wait_for_selector(f"#view-{tab} .table")
        assert page.evaluate("window.broken") is None
        assert page.query_selector("script:not([src]), img[src=x]") is None


def test_the_page_fits_a_phone(console: Console, chromium: Browser) -> None:
    with chromium.page(console.url, size=PHONE) as page:
        page.wait_for_selector(".row")
        for tab in ("hosts", "proof", "storage", "logs"):
            page.click(f"#tab-{tab}")
            page.wait_for_selector(f"#view-{tab}:not([hidden])")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.click(".row >> nth=3")
        page.wait_for_selector("#details .around")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_and_controls_have_names(console: Console, chromium: Browser, scheme: str) -> None:
    with chromium.page(console.url, scheme=scheme) as page:
        page.wait_for_selector(".row.error, .row.gap")
        weak = page.evaluate(CONTRAST)
        assert weak == []
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input, select, summary, a, [role]')].filter((node) => {
                const name = node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.innerText
                ||
                    node.labels?.[0]?.innerText || node.labels?.[0]?.textContent || node.title;
                return !name?.trim() && !['presentation', 'status'].includes(node.getAttribute('role'));
            }).map((node) => node.outerHTML.slice(0, 120))"""
        )
        assert nameless == []
        if scheme == "dark":
            page.fill("#q", "timeout level:error")
            page.wait_for_selector(".row mark")
            shows(page, "never seen")
            picture(page, "console-dark")


# Texts whose contrast is below 4.5 (WCAG AA).
CONTRAST = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const color = parse(getComputedStyle(node).backgroundColor);
            if (color.length < 4 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const weak = [];
    for (const node of document.querySelectorAll('body *')) {
        const hasText = [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
        if (!node.checkVisibility() || !hasText) continue;
        if (node.closest('svg, .hidden, .skip, .toast')) continue;
        const [one, other] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const name = `${node.tagName} ${node.className}`;
        if (contrast < 4.5) weak.push(`${name}: ${contrast.toFixed(1)} ${node.innerText.slice(0, 30)}`);
    }
    return weak;
}"""


def test_states_say_what_to_do_next(console: Console, source: MemorySource, chromium: Browser) -> None:
    with chromium.page(f"{console.url}?range=15m&q=nothing-like-it") as page:
        shows(page, "No line matches")
        page.click("text=Remove all filters")
        page.wait_for_selector(".row")
        page.fill("#q", "/(/")
        shows(page, "is not a regular expression")
        source.slow_s = 0.02
        page.fill("#q", "slow")
        page.wait_for_selector("#progress:not([hidden])")
        page.click("#stop")
        shows(page, "Stopped")
    source.lines.clear()
    source.slow_s = 0
    with chromium.page(console.url) as page:
        shows(page, "Nothing is stored yet")
        page.click("text=Wait for the first line")
        wait_until(lambda: source.running == 1, "the tail runs")
        source.add(b'{"level": "INFO", "message": "the first line"}', time=round(time.time() * 1000))
        shows(page, "the first line")


def test_the_token_comes_by_a_fragment_or_by_hand_and_stays_in_the_tab(source: MemorySource, chromium: Browser) -> None:
    with running_console(source, token=TOKEN) as console:
        with chromium.page(f"{console.url}#token={TOKEN}") as page:
            page.wait_for_selector(".row")
            assert TOKEN not in page.url
            assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"
        with chromium.page(console.url) as page:
            page.wait_for_selector("#login[open]")
            page.fill("#token", "wrong-token-wrong-token")
            page.keyboard.press("Enter")
            shows(page, "the token is wrong")
            page.fill("#token", TOKEN)
            page.keyboard.press("Enter")
            page.wait_for_selector(".row")


def test_tabs_show_hosts_proof_and_storage(console: Console, source: MemorySource, chromium: Browser) -> None:
    said = {"version": "1.2", "unread_bytes": 4000, "unacked_bytes": 96, "waits_for": "<the server>"}
    now = time.time() + 10  # for ten seconds, that is just now
    source.clients = {
        "db-1": {**said, "at": utc(round(now * 1000)), "behind_since": utc(round(now * 1000) - 60_000)},
        "web-1": {**said, "at": utc(round(now * 1000)), "behind_since": None},
        "web-2": {**said, "at": utc(round(now * 1000) - 900_000), "behind_since": None},
    }
    with chromium.page(f"{console.url}?tab=hosts") as page:
        shows(page, "1.2, ")
        shows(page, ": <the server>")
        found = [row.inner_text() for row in page.query_selector_all("#view-hosts tbody td:nth-child(6)")]
        assert found[0].startswith("4.1 kB, since ")
        assert found[1:] == ["none", "not known", "not known"]
    with chromium.page(f"{console.url}?tab=proof") as page:
        page.wait_for_selector(".card.good")
        shows(page, "1 unknown window")
        picture(page, "console-proof")
        source.damaged = 1
        page.reload()
        page.wait_for_selector(".card.bad")
        page.wait_for_selector("#tab-proof.bad")
        page.keyboard.press("Tab")
        page.click("#tab-hosts")
        page.click("#view-hosts .table button >> nth=0")
        page.wait_for_selector(".row")
        assert "host=db-1" in page.url
        page.click("#tab-storage")
        shows(page, "Full at this rate")
    with chromium.page(f"{console.url}api/") as page:
        shows(page, "GET /api/v1/histogram")


def test_a_check_now_turns_the_proof_red_after_a_byte_is_flipped(chromium: Browser, tmp_path: Path) -> None:
    with three_hosts(tmp_path):
        pass
    with running_console(StoredSource(tmp_path)) as console, chromium.page(f"{console.url}?tab=proof") as page:
        button = "tr:has(button[title='Show its lines']:has-text('b ')) button[aria-label^='Check now']"
        page.click(button)
        page.wait_for_selector("td:last-child .badge.good")
        assert not page.query_selector("#tab-proof.bad")
        (segment,) = (tmp_path / "segments" / "b").rglob("*.ndjson")
        content = bytearray(segment.read_bytes())
        content[20] ^= 1
        segment.write_bytes(content)
        page.click(button)
        page.wait_for_selector("td:last-child .badge.bad")
        assert "1 piece altered" in page.inner_text("td:last-child .badge.bad")
        page.wait_for_selector("#tab-proof.bad")


def test_a_check_that_takes_long_shows_how_far_it_is_and_can_be_stopped(
    console: Console, source: MemorySource, chromium: Browser
) -> None:
    source.slow_s = 1.0
    with chromium.page(f"{console.url}?tab=proof", size=PHONE) as page:
        page.click("button[aria-label^='Check now']")
        page.wait_for_selector("td [role=status]:has-text('50 %')")
        page.click("button[aria-label^='Stop the check']")
        page.wait_for_selector("td .badge:has-text('stopped')")


def test_what_verify_has_found_on_the_machine_of_the_file_is_shown(
    console: Console, source: MemorySource, chromium: Browser
) -> None:
    source.verdict = {
        "at": utc(round(time.time() * 1000)),
        "is_proven": False,
        "verdict": "not stored: <b>",
        "lines": 12,
        "stored": 10,
        "missing": 2,
        "altered": 0,
        "repeated": 0,
        "lost": 0,
    }
    with chromium.page(f"{console.url}?tab=proof") as page:
        page.wait_for_selector("td .badge.bad:has-text('2 missing')")
        assert "this machine alone cannot know" in page.inner_text("#view-proof")
