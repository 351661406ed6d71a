"""One list at a time has the event loop, in the order in which they came, and others are heard between two."""

import asyncio
from functools import partial

import pytest

from serving.turns import ROUNDS, Turns


def test_lists_are_made_in_the_order_in_which_they_came() -> None:
    async def inside() -> list[int]:
        turns, made = Turns(), list[int]()

        def make(number: int) -> int:
            made.append(number)
            return number

        assert await asyncio.gather(*(turns.take(partial(make, number)) for number in range(5))) == [*range(5)]
        return made

    assert asyncio.run(inside()) == [*range(5)]


def test_who_comes_while_a_list_is_made_is_heard_before_the_next_one() -> None:
    async def inside() -> list[str]:
        turns, heard = Turns(), list[str]()
        coming = list[asyncio.Task[None]]()

        async def come() -> None:
            for _ in range(ROUNDS - 2):  # as a connection that is set up, read and answered
                await asyncio.sleep(0)
            heard.append("somebody")

        def make(name: str) -> None:
            heard.append(name)
            if name == "first":
                coming.append(asyncio.get_running_loop().create_task(come()))

        await asyncio.gather(*(turns.take(partial(make, name)) for name in ("first", "second", "third")))
        await asyncio.gather(*coming)
        return heard

    assert asyncio.run(inside()) == ["first", "somebody", "second", "third"]


def test_a_list_that_fails_and_one_that_is_given_up_hold_up_nobody() -> None:
    async def inside() -> int:
        turns = Turns()
        with pytest.raises(ZeroDivisionError):
            await turns.take(lambda: 1 // 0)
        async with turns.busy:
            waiting = asyncio.get_running_loop().create_task(turns.take(lambda: 1))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return await turns.take(lambda: 2)

    assert asyncio.run(inside()) == 2
