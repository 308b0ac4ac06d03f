"""A server that kills itself (SIGKILL) at one of the durable steps, at random: `crashing_server.py SEED OPTIONS`.

One in ten of the groups that it stores is its last; which of the steps it dies at is drawn anew each time. The options
are a JSON object of their names and texts.
"""

import asyncio
import json
import logging
import os
import random
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from logferry.config import ServeSettings, load
from logferry.server import Replacements, Server

_ONE_IN = 50  # five steps in a group


async def _run(seed: str, options: str) -> None:
    drawn = random.Random(seed)

    def crash_point(_: str) -> None:
        if drawn.randrange(_ONE_IN) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    server = Server(load(ServeSettings, json.loads(options), {}), replacements=Replacements(crash_point=crash_point))
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(*sys.argv[1:]))
