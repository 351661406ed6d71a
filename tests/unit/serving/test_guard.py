"""The guard refuses at once while a service is known to be away."""

import asyncio
import gc

import pytest

from features.contracts.errors import UnavailableError
from serving.guard import Guard


class Hand:
    """A clock that is turned by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


async def fail() -> str:
    raise UnavailableError("away")


async def answer() -> str:
    return "here"


def test_it_refuses_until_the_rest_is_over_and_then_tries_again() -> None:
    clock, asked = Hand(), []

    async def counted() -> str:
        asked.append(clock.now_s)
        return await answer()

    async def run() -> None:
        guard = Guard("it", timeout_s=1, rest_s=10, failures=1, clock_s=clock)
        with pytest.raises(UnavailableError):
            await guard.call(fail)
        assert guard.away
        with pytest.raises(UnavailableError, match="not asked again"):
            await guard.call(counted)
        clock.now_s = 10.0
        assert await guard.call(counted) == "here"
        assert not guard.away

    asyncio.run(run())
    assert asked == [10.0]


def test_a_failure_by_which_the_service_answers_keeps_nobody_else_from_asking() -> None:
    class MissingError(UnavailableError):
        """One thing is not there."""

    async def miss() -> str:
        raise MissingError("no such topic")

    async def run() -> None:
        guard = Guard("it", timeout_s=1, rest_s=10, failures=1, answers=(MissingError,))
        with pytest.raises(MissingError):
            await guard.call(miss)
        assert await guard.call(answer) == "here"

    asyncio.run(run())


def test_a_call_that_takes_too_long_counts_as_away() -> None:
    async def run() -> None:
        guard = Guard("it", timeout_s=0.01, rest_s=10, failures=1)
        with pytest.raises(UnavailableError, match=r"within 0\.01 s"):
            await guard.call(lambda: asyncio.sleep(5, "late"))
        assert guard.away

    asyncio.run(run())


def test_a_time_limit_of_the_calls_own_counts_as_away() -> None:
    async def hurried() -> None:
        raise TimeoutError

    async def run() -> None:
        guard = Guard("it", timeout_s=60, rest_s=10, failures=1)
        with pytest.raises(UnavailableError, match="TimeoutError"):
            await guard.call(hurried)
        assert guard.away

    asyncio.run(run())


def test_a_call_that_will_not_be_broken_off_holds_nobody_up_and_fails_in_silence() -> None:
    """As a query does whose server hangs: the driver waits for that to say that it broke it off."""
    complaints: list[dict[str, object]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        guard = Guard("it", timeout_s=0.01, rest_s=10, failures=1)
        goes_on, broken_off = asyncio.Event(), asyncio.Event()

        async def stubborn() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await goes_on.wait()
                broken_off.set()
                raise UnavailableError("at last") from None

        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError, match=r"within 0\.01 s"):
                await guard.call(stubborn)
        assert guard.away
        assert not broken_off.is_set()
        goes_on.set()
        await broken_off.wait()
        await asyncio.sleep(0)  # in which its error is seen

    asyncio.run(run())
    gc.collect()
    assert complaints == []


def test_who_gives_up_breaks_off_the_call() -> None:
    async def run() -> list[str]:
        ended, begun = [], asyncio.Event()

        async def long() -> None:
            try:
                begun.set()
                await asyncio.sleep(60)
            finally:
                ended.append("call")

        guard = Guard("it", timeout_s=60, rest_s=10, failures=1)
        caller = asyncio.create_task(guard.call(long))
        await begun.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        await asyncio.sleep(0)
        assert not guard.away
        return ended

    assert asyncio.run(run()) == ["call"]


def test_single_failures_between_good_calls_close_nothing() -> None:
    async def run() -> None:
        guard = Guard("it", timeout_s=1, rest_s=10, failures=3)
        for _ in range(3):
            for _ in range(2):
                with pytest.raises(UnavailableError, match="away"):
                    await guard.call(fail)
            assert await guard.call(answer) == "here"
        for _ in range(3):
            with pytest.raises(UnavailableError, match="away"):
                await guard.call(fail)
        assert guard.away

    asyncio.run(run())
