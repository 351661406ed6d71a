"""Laws of whole answers: nothing comes back that may not, and k items come whenever k may, whatever is asked for."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.contracts.ids import IdMap
from features.contracts.profiles import UserHistory
from features.contracts.times import to_us
from features.store import ItemState
from serving.asks import Ask, InlineEvent, Kind
from serving.bundle_slot import Served
from serving.clock import now_us
from serving.item_states import ItemStates, ItemTable
from serving.live import LiveModel
from serving.live_statistics import LiveStatistics
from tests.support.serving_parts import Bench, bench
from training.bundle.bundle import Bundle

N_MODEL = 30
"""Items of the bundle; those after them are in the catalogue alone."""
NOW = datetime.now(UTC)
MOMENTS = (None, NOW - timedelta(days=3), NOW - timedelta(hours=1), NOW + timedelta(days=1))
ACTIONS = ("view", "like", "purchase", "dislike")

Shape = tuple[bool, tuple[str, ...], datetime | None, datetime | None]
"""Whether an item is gone, its categories, when it is published and expires."""

# One choice an item: drawing is most of what these tests do.
shapes = st.sampled_from(
    [None, *product((False, False, False, True), ((), ("a",), ("b", "ü"), ("a", "b")), MOMENTS, (None, None, *MOMENTS))]
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)


@dataclass(frozen=True)
class World:
    """A catalogue, what a user did, and what is asked."""

    item_ids: list[str]
    states: dict[str, ItemState]
    history: UserHistory
    popular: list[str]
    ask: Ask


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw a world; some items have no state, as where the catalogue never heard of them."""
    item_ids = draw(st.lists(texts, min_size=N_MODEL, max_size=N_MODEL + 12, unique=True))
    some = st.lists(st.sampled_from([*item_ids, "nobody knows it"]), max_size=12)
    states = {item_id: _state(item_id, draw(shapes)) for item_id in item_ids}
    acts = draw(st.lists(st.tuples(st.sampled_from(item_ids), st.sampled_from(ACTIONS)), max_size=8))
    history = UserHistory(
        "u",
        [f"e{number}" for number in range(len(acts))],
        [item_id for item_id, _ in acts],
        [action for _, action in acts],
        [1.0] * len(acts),
        [to_us(NOW) - number - 1_000_000 for number in range(len(acts))],
        sorted({item_id for item_id, _ in acts} | set(draw(some))),
    )
    ask = Ask(
        user_id=draw(st.sampled_from(["u", None])),
        k=draw(st.integers(1, 50)),
        kind=draw(st.sampled_from(get_args(Kind))),
        item_id=draw(st.none() | st.sampled_from([*item_ids, "nobody knows it"])),
        history=[
            InlineEvent(*act) for act in draw(st.lists(st.sampled_from(acts), max_size=3) if acts else st.just([]))
        ],
        candidates=draw(st.none() | some),
        categories=draw(st.lists(st.sampled_from(["a", "b", "none has it"]), max_size=2)),
        exclude=draw(some),
        include_seen=draw(st.none() | st.booleans()),
        seen_actions=draw(st.lists(st.sampled_from(ACTIONS), max_size=2)),
        diversity=draw(st.sampled_from([None, 0.5])),
    )
    return World(item_ids, {key: state for key, state in states.items() if state}, history, draw(some.map(_once)), ask)


def _once(item_ids: list[str]) -> list[str]:
    return list(dict.fromkeys(item_ids))


def _state(item_id: str, shape: Shape | None) -> ItemState | None:
    """Return a state as `item_states` reads it of Postgres, where what is deleted or sold out is hidden."""
    if shape is None:
        return None
    gone, categories, published_at, expires_at = shape
    return ItemState(
        item_id,
        "",
        categories,
        hidden=gone,
        expires_at=expires_at,
        published_at=published_at,
        changed_at=NOW,
        deleted=gone,
        created_at=NOW - timedelta(days=len(item_id)),
    )


def eligible(world: World, known: Collection[str]) -> set[str]:
    """Return which items may come back, found by looking at each of them."""
    return {item_id for item_id in {*known, *world.states} if _may_come(world, item_id)}


def _may_come(world: World, item_id: str) -> bool:
    ask, state = world.ask, world.states.get(item_id)
    if item_id in ask.exclude or (ask.candidates is not None and item_id not in ask.candidates):
        return False
    if ask.kind == "similar" and item_id == ask.item_id:
        return False
    if state is None:
        return not ask.categories and not _is_seen(world, item_id)
    shown = not state.hidden and (state.published_at or NOW) <= NOW and not (state.expires_at or MOMENTS[3]) <= NOW
    return (
        shown and (not ask.categories or bool({*ask.categories} & {*state.categories})) and not _is_seen(world, item_id)
    )


def _is_seen(world: World, item_id: str) -> bool:
    ask = world.ask
    if ask.include_seen:
        return False
    stored = world.history if ask.user_id else UserHistory("")
    acts = {*zip(stored.item_ids, stored.actions, strict=True), *((one.item_id, one.action) for one in ask.history)}
    if ask.seen_actions:
        return any((item_id, action) in acts for action in ask.seen_actions)
    return item_id in stored.seen_item_ids or item_id in {one for one, _ in acts}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield parts with a bundle."""
    with bench(tmp_path_factory.mktemp("filters")) as made:
        made.registry.publish()
        asyncio.run(made.parts.keeper.look())
        yield made


@pytest.fixture(scope="module")
def bundle(parts: Bench) -> Bundle:
    """Return the bundle of all these worlds, whose items get other names in each."""
    served = parts.parts.keeper.slot.served  # whatever a test has made of what is current
    assert served is not None
    assert isinstance(served.model, Bundle)
    return served.model


def answer(parts: Bench, world: World, model: Bundle | None, *, loaded: bool = True) -> dict[str, Any]:
    """Return what a server answers in a world."""
    current, states = parts.parts.current, ItemStates()
    states.apply(world.states.values() if loaded else [], datetime.now(UTC) if loaded else None)
    current.states, current.live = states, None
    if model is not None:
        statistics = LiveStatistics(model.items, model.statistics, model.parts.weights)
        current.live = LiveModel(
            Served("1", "run", model, now_us()), model, ItemTable.of(states, model.items), statistics
        )
    parts.store.histories, parts.store.popular = {"u": world.history}, world.popular
    parts.parts.pipeline._lister._popular._read_at_s = float("-inf")  # what is popular is another world's
    reply = asyncio.run(parts.parts.pipeline.recommend(world.ask))
    return orjson.loads(orjson.dumps(reply.body))  # type: ignore[no-any-return]


def check(found: dict[str, Any], allowed: set[str], ask: Ask) -> None:
    """Hold an answer against what may come back; for the sake of diversity a better item may stand below another."""
    ids = [item["item_id"] for item in found["items"]]
    assert set(ids) <= allowed
    assert len(ids) == len(set(ids)) == min(ask.k, len(allowed))
    assert [item["rank"] for item in found["items"]] == list(range(1, len(ids) + 1))
    scores = [item["score"] for item in found["items"]]
    assert ask.diversity or scores == sorted(scores, reverse=True)
    assert all(item["source"] and item["reason"] for item in found["items"])


@given(world=worlds())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_with_a_model_k_items_come_whenever_k_may(parts: Bench, bundle: Bundle, world: World) -> None:
    model_ids = world.item_ids[:N_MODEL]
    model = replace(bundle, parts=replace(bundle.parts, items=IdMap(model_ids)))
    check(answer(parts, world, model), eligible(world, model_ids), world.ask)


@given(world=worlds())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_without_a_model_k_items_come_whenever_k_may(parts: Bench, world: World) -> None:
    found = answer(parts, world, None)
    check(found, eligible(world, world.popular), world.ask)
    assert (found["degraded"], found["fallback_reason"]) == (True, "no_model")


@given(world=worlds())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_without_time_for_a_list_k_items_come_all_the_same(parts: Bench, bundle: Bundle, world: World) -> None:
    """Of a visitor without an id: a history that is late would be another law."""
    model_ids = world.item_ids[:N_MODEL]
    model = replace(bundle, parts=replace(bundle.parts, items=IdMap(model_ids)))
    hurried = replace(world, ask=replace(world.ask, user_id=None, deadline_s=1e-9))
    found = answer(parts, hurried, model)
    check(found, eligible(hurried, model_ids), hurried.ask)
    assert found["fallback_reason"] == "list_late"
