"""Lines as container runtimes write them, and the records that they become."""

import json
from collections.abc import Callable

TIME = "2024-01-15T08:23:45.{:09}Z"
Line = Callable[..., str]


def cri(content: str, stream: str = "stdout", *, is_last: bool = True, at: int = 0) -> str:
    return f"{TIME.format(at)} {stream} {'F' if is_last else 'P'} {content}"


def docker(content: str, stream: str = "stdout", *, is_last: bool = True, at: int = 0) -> str:
    log = content + "\n" * is_last
    fields = {"log": log, "stream": stream, "time": TIME.format(at)}
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def expected(message: str, stream: str = "stdout", *, at: int = 0, **more: object) -> dict[str, object]:
    return {"level": "UNKNOWN", "message": message, "timestamp": TIME.format(at), "stream": stream, **more}


def chunk(*lines: str) -> bytes:
    return "".join(line + "\n" for line in lines).encode()
