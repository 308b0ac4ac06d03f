"""Log files in formats other than plain, always the same for the same seed; and what must be stored of them.

The lines are like those of real programs: fields vary from line to line, and some lines do not fit the format.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.data import LogFile, describe, make_phrases
from logferry.model.render_spec import RenderSpec

_SEED: Final = 20240116
_BLOCK: Final = 2000
_LEVELS: Final = ("info", "info", "info", "debug", "warning", "error")
_STATUSES: Final = (200, 200, 200, 200, 200, 304, 404, 502)
_APPS: Final = ("web", "cron", "sshd", "postfix/smtp", "kernel")
_TRACE: Final = (
    "java.lang.IllegalStateException: the pool is closed",
    "\tat com.example.shop.Payment.charge(Payment.java:118)",
    "\tat com.example.shop.Order.submit(Order.java:64)",
    "Caused by: java.net.SocketTimeoutException: Read timed out",
    "\tat java.base/java.net.SocketInputStream.read(SocketInputStream.java:280)",
)

Maker = Callable[[random.Random, str, int], str]


@dataclass(frozen=True, slots=True)
class Sample:
    """A kind of log: how to ship it, and how to make one event, without its last newline."""

    flags: tuple[str, ...]
    spec: RenderSpec
    make: Maker
    lines_per_event: int = 1  # on average


def _json_line(chance: random.Random, phrase: str, number: int) -> str:
    level = chance.choice(_LEVELS)
    return (
        f'{{"time":"2024-01-15T08:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}Z","level":"{level}",'
        f'"msg":"{phrase}","worker":{number % 16},"id":"{number:08x}"}}'
    )


def _nginx_line(chance: random.Random, phrase: str, number: int) -> str:
    status = chance.choice(_STATUSES)
    return (
        f"192.0.2.{number % 250} - - [15/Jan/2024:08:{number // 60 % 60:02}:{number % 60:02} +0000] "
        f'"GET /{phrase[:12].replace(" ", "/")}/{number} HTTP/1.1" {status} {number % 50_000} "-" "curl/8.5.0"'
    )


def _syslog_line(chance: random.Random, phrase: str, number: int) -> str:
    app = chance.choice(_APPS)
    return f"Jan 15 08:{number // 60 % 60:02}:{number % 60:02} web-1 {app}[{number % 30_000}]: {phrase} id={number:08x}"


def _cri_json_line(chance: random.Random, phrase: str, number: int) -> str:
    stream = "stderr" if chance.random() < 0.1 else "stdout"
    return f"{_runtime_time(number)} {stream} F {_json_line(chance, phrase, number)}"


def _docker_json_line(chance: random.Random, phrase: str, number: int) -> str:
    stream = "stderr" if chance.random() < 0.1 else "stdout"
    content = _json_line(chance, phrase, number).replace('"', r"\"")
    return f'{{"log":"{content}\\n","stream":"{stream}","time":"{_runtime_time(number)}"}}'


def _runtime_time(number: int) -> str:
    return f"2024-01-15T08:{number // 60 % 60:02}:{number % 60:02}.{number % 1_000_000_000:09}Z"


def _logfmt_line(chance: random.Random, phrase: str, number: int) -> str:
    return (
        f"time=2024-01-15T08:{number // 60 % 60:02}:{number % 60:02}Z level={chance.choice(_LEVELS)} "
        f'msg="{phrase}" worker={number % 16} id={number:08x}'
    )


def _multiline_event(chance: random.Random, phrase: str, number: int) -> str:
    """One event in five is an exception with its stack trace: half of all lines."""
    line = f"2024-01-15 08:{number // 60 % 60:02}:{number % 60:02} INFO {phrase} id={number:08x}"
    return "\n".join((line, *_TRACE)) if chance.random() < 0.2 else line


def _personal_line(chance: random.Random, phrase: str, number: int) -> str:
    """One line in five has an address of a person, one in ten that of a machine."""
    chosen = chance.random()
    who = f"user{number}@example.com" if chosen < 0.2 else f"192.0.2.{number % 250}" if chosen < 0.3 else "nobody"
    return f"2024-01-15 08:{number // 60 % 60:02}:{number % 60:02} INFO {phrase} for {who} id={number:08x}"


_PRESETS: Final = ("email", "ipv4", "card", "bearer")
_REDACT: Final = tuple(word for preset in _PRESETS for word in ("--redact", preset))
_INCLUDE: Final = ("--include", "request|order|cache|user", "--exclude-line", "shard")

SAMPLES: Final[Mapping[str, Sample]] = {
    "json": Sample(("--format", "json"), RenderSpec(format="json"), _json_line),
    "nginx": Sample(("--format", "nginx"), RenderSpec(format="nginx"), _nginx_line),
    "syslog": Sample(("--format", "syslog"), RenderSpec(format="syslog"), _syslog_line),
    "cri-json": Sample(("--format", "cri+json"), RenderSpec(format="cri+json"), _cri_json_line),
    "docker-json": Sample(("--format", "docker+json"), RenderSpec(format="docker+json"), _docker_json_line),
    "logfmt": Sample(("--format", "logfmt"), RenderSpec(format="logfmt"), _logfmt_line),
    "multiline": Sample(("--multiline", "timestamp"), RenderSpec(multiline="timestamp"), _multiline_event, 2),
    "redact": Sample(_REDACT, RenderSpec(redact=_PRESETS), _personal_line),
    "include": Sample(_INCLUDE, RenderSpec(include=("request|order|cache|user",), exclude=("shard",)), _personal_line),
}

# What most programs and container runtimes write.
FORMATS: Final = ("json", "nginx", "syslog", "cri-json", "docker-json", "logfmt")


def make_sample(name: str, path: Path, *, lines: int) -> LogFile:
    """Write a log of the kind `name` with `lines` lines, or about that number if events have several lines."""
    sample = SAMPLES[name]
    with path.open("w", encoding="utf-8") as file:
        for block in _blocks(sample.make, lines // sample.lines_per_event):
            file.write("\n".join(block) + "\n")
    return describe(path, sample.spec)


def _blocks(make: Maker, events: int) -> Iterator[Sequence[str]]:
    chance = random.Random(_SEED)
    phrases = make_phrases(chance)
    for start in range(0, events, _BLOCK):
        texts = chance.choices(phrases, k=min(_BLOCK, events - start))
        yield [make(chance, text, number) for number, text in enumerate(texts, start)]
