"""Turns: one step in each pass of the event loop, round robin."""

import asyncio
from collections.abc import Callable

from logferry.server.clients.scheduling.turns import Turns


def test_of_all_that_wait_one_has_its_turn_in_each_pass() -> None:
    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        turns = Turns(loop)
        happened: list[str] = []

        def steps(name: str, count: int) -> Callable[[], None]:
            def step() -> None:
                nonlocal count
                happened.append(name)
                count -= 1
                if count:
                    turns.call_soon(step, None)

            return step

        for name, count in (("a", 3), ("b", 1), ("c", 2)):
            turns.call_soon(steps(name, count), None)
        for _ in range(6):
            await asyncio.sleep(0)
            happened.append("pass")
        turns.call_soon(steps("d", 1), None)
        await asyncio.sleep(0)
        return happened

    assert [name for name in asyncio.run(run()) if name != "pass"] == list("abcacad")
    assert " ".join(asyncio.run(run())).split("pass")[1:6] == [" b ", " c ", " a ", " c ", " a "]


def test_a_turn_that_fails_does_not_keep_the_others_from_theirs() -> None:
    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        failed: list[str] = []
        loop.set_exception_handler(lambda _, context: failed.append(str(context["exception"])))
        turns = Turns(loop)
        happened: list[str] = []
        turns.call_soon({"a": 1}.popitem, None)
        turns.call_soon(dict[str, int]().popitem, None)
        turns.call_soon(lambda: happened.append("second"), None)
        for _ in range(4):
            await asyncio.sleep(0)
        return happened + failed

    assert asyncio.run(run()) == ["second", "'popitem(): dictionary is empty'"]


def test_a_pass_is_full_after_four_steps_and_the_next_one_is_not() -> None:
    async def run() -> list[bool]:
        turns = Turns(asyncio.get_running_loop())
        found: list[bool] = []
        for steps in (0.0, 3.5, 0.5):
            turns.work(steps, None)
            found.append(turns.is_pass_full(None))
        await asyncio.sleep(0)
        return [*found, turns.is_pass_full(None)]

    assert asyncio.run(run()) == [False, False, True, False]


def test_in_a_pass_that_takes_long_those_that_wait_have_time_too() -> None:
    """A flood of what is not judged in turns leaves a share of the time for what is."""

    async def run() -> list[str]:
        loop = asyncio.get_running_loop()
        turns = Turns(loop)
        now = 0.0
        turns.time = lambda: now
        happened: list[str] = []

        def turn() -> None:
            nonlocal now
            now += 0.002
            happened.append("turn")

        for _ in range(8):
            turns.call_soon(turn, None)
        for took_s in (0.0, 0.001, 0.02, 0.02):
            now += took_s
            await asyncio.sleep(0)
            happened.append("pass")
        return happened

    assert " ".join(asyncio.run(run())) == "turn pass turn pass turn turn turn pass turn turn turn pass"
