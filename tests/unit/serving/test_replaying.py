"""A recorded list is computed again: the same from the same, and what is not the same is named."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts.facts import ItemFacts
from features.served import ServedList
from serving.deadline import Deadline
from serving.live import LiveModel
from serving.recording import arrivals_digest
from serving.replay_outcome import Outcome
from serving.replaying import NotReplayableError, kept_bundle, open_from, replay, why_missing
from serving.seams import Model
from tests.support.serving_parts import Bench, bench
from training.bundle.arrivals import Arrivals

if TYPE_CHECKING:
    from features.db.connection import Connection

NO_POSTGRES = cast("Connection", None)
"""An anonymous list by the bundle's own statistics needs none: its history came with the request."""
LIKED = [{"item_id": f"i{number}", "action": "like"} for number in (1, 5, 9)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Yield an app whose bundle has rankers, and which records all."""
    with bench(tmp_path_factory.mktemp("trained"), record_share=1) as parts:
        parts.registry.publish_trained()
        yield parts


def served(parts: Bench, **body: Any) -> ServedList:
    """Return the record of one answer."""

    async def inside() -> None:
        async with parts.client() as client:
            response = await client.post("/api/v1/recommend", json=body)
            assert response.status_code == 200, response.text
        await parts.records.flush()

    asyncio.run(inside())
    return parts.served.lists[-1]


def model_of(parts: Bench) -> Model:
    live = parts.parts.current.live
    assert live is not None
    return live.model


def again(record: ServedList, model: Model) -> Outcome:
    return replay(NO_POSTGRES, record, lambda digest: model if digest == model.digest else None)


asks = st.fixed_dictionaries(
    {"k": st.integers(1, 100), "history": st.lists(st.sampled_from(LIKED), max_size=3)},
    optional={
        "candidates": st.lists(st.sampled_from([f"i{n}" for n in range(90)]), max_size=20),
        "exclude": st.lists(st.sampled_from([f"i{n}" for n in range(90)]), max_size=20),
        "include_seen": st.booleans(),
        "diversity": st.floats(0, 1),
        "fresh_share": st.floats(0, 1),
        "fresh_draw": st.floats(0, 1),
        "type": st.sampled_from(["feed", "trending", "similar"]),
    },
)


@given(body=asks)
@settings(max_examples=40)
def test_whatever_was_asked_for_comes_out_the_same(trained: Bench, body: dict[str, Any]) -> None:
    record = served(trained, **body)
    outcome = again(record, model_of(trained))
    assert outcome.same, outcome
    assert (outcome.item_ids, outcome.notes) == (record.item_ids, [])


@pytest.mark.parametrize(("step", "reason"), [("retrieve", "ranker_late"), ("begin", "list_late")])
def test_what_was_late_is_late_again(trained: Bench, monkeypatch: pytest.MonkeyPatch, step: str, reason: str) -> None:
    lap = Deadline.lap
    monkeypatch.setattr(Deadline, "lap", lambda self, done: lap(self, done) and done != step)
    record = served(trained, history=LIKED)
    assert reason in record.lacking
    drawn = served(trained, history=LIKED, fresh_share=1.0, fresh_draw=1.0)
    assert (reason in drawn.lacking, drawn.item_ids) == (True, record.item_ids)
    monkeypatch.undo()
    assert again(drawn, model_of(trained)).same
    in_time = served(trained, history=LIKED)
    assert again(record, model_of(trained)).same
    assert record.item_ids != in_time.item_ids


def test_a_changed_row_score_and_list_are_named(trained: Bench) -> None:
    record = served(trained, history=LIKED, k=5)
    assert record.considered is not None
    rows = record.considered.rows.copy()
    column = list(record.considered.feature_names).index("user_liked")
    rows[2, column] += 1
    item_ids = ["gone", *record.item_ids[1:]]
    other = replace(
        record,
        considered=replace(record.considered, rows=rows),
        item_ids=item_ids,
        scores=[record.scores[0], record.scores[1] + 1, *record.scores[2:]],
    )
    outcome = again(other, model_of(trained))
    assert not outcome.same
    assert (outcome.items["missing"], outcome.items["added"]) == (["gone"], [record.item_ids[0]])
    assert [different["item_id"] for different in outcome.scores["different"]] == [record.item_ids[1]]
    assert outcome.feature_rows is not None
    assert outcome.feature_rows["different_count"] == 1
    [feature] = outcome.feature_rows["features"]
    assert feature["name"] == "user_liked"
    assert feature["example"]["item_id"] == record.considered.item_ids[2]
    swapped = replace(record, item_ids=[*record.item_ids[1::-1], *record.item_ids[2:]])
    outcome = again(swapped, model_of(trained))
    assert (outcome.items["same"], outcome.order["same"]) == (True, False)


def test_rows_of_other_features_are_not_compared(trained: Bench) -> None:
    record = served(trained, history=LIKED, k=5)
    assert record.considered is not None
    names = ["renamed", *record.considered.feature_names[1:]]
    outcome = again(replace(record, considered=replace(record.considered, feature_names=names)), model_of(trained))
    assert not outcome.same
    assert outcome.feature_rows is not None
    assert "note" in outcome.feature_rows


def test_items_that_arrived_later_change_nothing_and_lost_ones_are_told(trained: Bench) -> None:
    record = served(trained, history=LIKED, k=80)
    model = model_of(trained)
    grown = model.grown(arrivals("new", 6))
    assert again(record, grown).same

    assert record.origin is not None
    mask = np.concatenate((record.origin.allowed, np.ones(6, dtype=bool)))
    of_grown = replace(record.origin, allowed=mask, arrivals=arrivals_digest(grown, 6))
    with_arrivals = replace(record, origin=of_grown)
    assert again(with_arrivals, model).notes == [
        "6 items had arrived since the bundle was made; they are left out, as they are not known here as they were"
    ]
    assert again(with_arrivals, grown.grown(arrivals("newer", 2))).notes == []
    assert again(with_arrivals, model.grown(arrivals("other", 6))).notes != []

    some = arrivals("new", 6)
    changed = [
        replace(some, vectors=-some.vectors),
        replace(some, categories=[*[()] * 5, ("another",)]),
        replace(some, facts=replace(some.facts, year=np.arange(6, dtype=np.float32))),
    ]
    for different in changed:
        assert again(with_arrivals, model.grown(different)).notes != []


@given(seed=st.integers(0, 2**32), history=st.lists(st.sampled_from([*LIKED, {"item_id": "new2"}]), min_size=1))
@settings(max_examples=15)
def test_a_list_with_arrivals_comes_out_the_same_whatever_has_arrived_since(
    trained: Bench, seed: int, history: list[dict[str, str]]
) -> None:
    rng = np.random.default_rng(seed)
    served(trained, k=1)
    live = trained.parts.current.live
    assert live is not None
    near = rng.standard_normal(16)

    def read_alike(name: str, count: int) -> Arrivals:
        vectors = near + 0.2 * rng.standard_normal((count, 16))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Arrivals([f"{name}{n}" for n in range(count)], vectors, [(name,)] * count, ItemFacts.unknown(count))

    model = live.model.grown(read_alike("new", 20)).grown(read_alike("newer", 10))
    statistics = live.statistics.grown(model.items, model.statistics)
    trained.parts.current.live = LiveModel(live.served, model, live.items.grown(model.items), statistics)
    try:
        record = served(trained, history=history, k=100, include_seen=True)
    finally:
        trained.parts.current.live = live
    outcome = again(record, model.grown(read_alike("newest", 150)))
    assert outcome.same, outcome
    assert (outcome.item_ids, outcome.notes) == (record.item_ids, [])


def arrivals(name: str, count: int) -> Arrivals:
    """Return items with texts of some length."""
    vectors = np.random.default_rng(count).standard_normal((count, 16)).astype(np.float32)
    return Arrivals([f"{name}{n}" for n in range(count)], vectors, [()] * count, ItemFacts.unknown(count))


def test_what_is_like_an_item_comes_out_the_same_and_what_is_new_is_not_computed(trained: Bench) -> None:
    alike = served(trained, type="similar", item_id="i7", history=LIKED, k=30)
    assert again(alike, model_of(trained)).same
    new = replace(alike, request={**alike.request, "kind": "new"})
    with pytest.raises(NotReplayableError, match="newest items"):
        again(new, model_of(trained))
    filled = replace(
        alike,
        item_ids=[*alike.item_ids, "never in a bundle"],
        scores=[*alike.scores, -99.0],
        sources=[*alike.sources, "new"],
        reasons=[*alike.reasons, "New in the catalogue"],
    )
    outcome = again(filled, model_of(trained))
    assert outcome.same
    assert "1 items came straight from the catalogue" in outcome.notes[0]


def test_without_its_bundle_a_list_is_not_computed_again(trained: Bench, tmp_path: Path) -> None:
    record = served(trained, history=LIKED)
    with pytest.raises(NotReplayableError, match="neither served nor kept"):
        replay(NO_POSTGRES, record, lambda _: None)
    with pytest.raises(NotReplayableError, match="there was no model"):
        replay(NO_POSTGRES, replace(record, origin=None, considered=None), lambda _: None)

    digest = model_of(trained).digest
    kept = open_from(trained.parts.keeper.slot._cache.folder)
    assert replay(NO_POSTGRES, record, kept).same
    assert kept_bundle(tmp_path, digest) is None
    (tmp_path / digest).mkdir()
    (tmp_path / digest / "manifest.json").write_text("{}")
    assert kept_bundle(tmp_path, digest) is None


def test_a_list_that_was_to_be_recorded_is_not_said_to_lack_a_share() -> None:
    chosen = why_missing("any", 1.0)
    assert "Only a share" not in chosen
    assert "dropped under load" in chosen
    left_out = why_missing("any", 0.0)
    assert "Only a share" in left_out
    assert "dropped" not in left_out
