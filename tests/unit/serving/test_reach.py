"""Whether a service can be reached: what the last attempt showed, and who asks where nobody else does."""

import asyncio
from dataclasses import dataclass, field

import pytest

from features.contracts.errors import UnavailableError
from serving.guard import Guard
from serving.reach import FRESH_S, LACKS_EVERY_S, Reach


@dataclass
class Service:
    """Something that may be away, with a clock that is turned by hand."""

    away: bool = False
    now_s: float = 0.0
    asked_s: list[float] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)

    async def ask(self) -> list[str]:
        """Return what it lacks, if it is there."""
        self.asked_s.append(self.now_s)
        if self.away:
            raise UnavailableError("away")
        return self.lacks

    def reach(self) -> Reach:
        """Return what knows of it."""
        return Reach(self.ask, lambda: self.now_s)


def test_good_news_is_believed_for_a_while_and_bad_news_is_checked_each_time() -> None:
    service = Service()
    reach = service.reach()
    assert reach.well is None
    asyncio.run(reach.look())
    service.now_s = FRESH_S - 1
    asyncio.run(reach.look())
    assert reach.well
    assert service.asked_s == [0.0]
    service.now_s, service.away = FRESH_S, True
    for _ in range(2):
        with pytest.raises(UnavailableError):
            asyncio.run(reach.look())
    assert reach.well is False
    assert service.asked_s == [0.0, FRESH_S, FRESH_S]
    service.away = False
    asyncio.run(reach.look())
    assert reach.well


def test_what_each_call_shows_is_heard_and_defects_say_nothing() -> None:
    service = Service()
    reach = service.reach()
    guard = Guard("it", timeout_s=5, rest_s=0, failures=3, reach=reach)

    async def defect() -> None:
        raise ValueError("ours")

    async def use() -> None:
        await guard.call(service.ask)
        with pytest.raises(ValueError, match="ours"):
            await guard.call(defect)
        assert reach.well
        service.away = True
        with pytest.raises(UnavailableError):
            await guard.call(service.ask)
        assert reach.well is False
        service.away = False
        await guard.call(service.ask)
        assert reach.well

    asyncio.run(use())


def test_what_it_lacks_is_noticed_where_all_else_goes_well() -> None:
    service = Service()
    reach = service.reach()
    seen = []
    for step in range(25):
        service.now_s = step * LACKS_EVERY_S / 10
        service.lacks = ["a topic"] if 5 <= step < 15 else []
        reach.hear(well=True)
        asyncio.run(reach.look())
        seen.append(list(reach.lacks))
    assert service.asked_s == [0, LACKS_EVERY_S, 2 * LACKS_EVERY_S]
    assert seen == [[]] * 10 + [["a topic"]] * 10 + [[]] * 5
