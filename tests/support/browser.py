"""Debian's Chromium, driven by Playwright, for tests of the page; they skip where one of them is missing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# The width and height of a window, and of a phone.
WINDOW = {"width": 1320, "height": 840}
PHONE = {"width": 400, "height": 800}
PICTURE = {"width": 1200, "height": 690}

# Where pictures for the documentation go; without this variable none is made.
PICTURES = os.environ.get("CONSOLE_PICTURES", "")


@contextmanager
def browser() -> Iterator["Browser"]:
    """Run a browser for the length of a `with`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra browser)")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield Browser(running)
        finally:
            running.close()


class Browser:
    """A browser. `problems` are what pages have complained about: a test ends with none."""

    def __init__(self, running: Any) -> None:
        self._running = running
        self.problems: list[str] = []
        self.hosts: set[str] = set()  # that pages have asked

    def begin(self) -> None:
        """Forget what pages have complained about and asked for so far."""
        self.problems = []
        self.hosts = set()

    def _note(self, kind: str, text: str) -> None:
        """Note what a page complains about; the browser itself reports each answer that is an error."""
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.problems.append(text)

    @contextmanager
    def page(self, url: str, *, size: dict[str, int] | None = None, scheme: str = "light") -> Iterator[Any]:
        """Give a page that shows a URL."""
        context = self._running.new_context(viewport=size or WINDOW, color_scheme=scheme, reduced_motion="reduce")
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.goto(url)
        try:
            yield page
        finally:
            context.close()


def picture(page: Any, name: str) -> None:
    """Save a picture of a page for the documentation, if pictures are wanted."""
    if PICTURES:
        folder = Path(PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        page.set_viewport_size(PICTURE)
        page.wait_for_timeout(300)  # until it is drawn anew
        page.screenshot(path=folder / f"{name}.png")
        page.set_viewport_size(WINDOW)
