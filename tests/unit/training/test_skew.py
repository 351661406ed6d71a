"""Served lists made again from a log: what is the same, what is told, and what is nobody's fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from features.build.replay import Start, final_state, replay_statistics
from features.contracts.profiles import Options, UserHistory
from features.contracts.statistics import BUCKET_US, DAY_US, StatisticsRows, bucket_edge
from features.served import Considered, Origin, ServedList
from features.served_sample import Sample
from tests.support.gate_evidence import evidence
from tests.support.synthetic import START_US, make_interactions, trained, trained_on_texts
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.write import write_bundle
from training.gate import decide
from training.gating.rules_file import load_rules
from training.skew.log import KnownLog
from training.skew.metrics import metrics_of
from training.skew.page import lines_of, page_of
from training.skew.parity import Remade, by_feature, compare
from training.skew.remake import GONE, GROWN, INLINE, LATE, OTHER_WEIGHTS, OWN_CANDIDATES, Outcome, ReadStored, remake
from training.skew.result import Result, parity_of, result_of
from training.skew.rules import DriftRules, GuardRules
from training.skew.verdict import serving_rule

AS_OF_US = START_US + 39 * DAY_US + 7 * 60_000_000  # seven minutes into a bucket
_COLUMNS = ("event_id", "item_id", "action", "value")
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle with a ranker."""
    path = tmp_path_factory.mktemp("skew") / "bundle"
    return open_bundle(path, write_bundle(path, trained()[1], created_at=NOW, code_version="test", seed=0))


@lru_cache(maxsize=1)
def frame() -> pd.DataFrame:
    """Return a log in which everything landed when it became known."""
    made, rng = make_interactions(), np.random.default_rng(3)
    at = pd.to_datetime(made.at_us, unit="us", utc=True)
    return pd.DataFrame(
        {
            "event_id": [f"e{number:05d}" for number in range(len(made))],
            "user_id": made.users.external(made.user),
            "item_id": made.items.external(made.item),
            "action": "rating",
            "value": rng.integers(1, 6, len(made)).astype(float),
            "occurred_at": at,
            "known_at": at,
            "landed_at": at,
        }
    )


def log_of(bundle: Bundle, rows: pd.DataFrame, folder: Path) -> KnownLog:
    rows.sample(frac=1, random_state=0).to_parquet(folder / "log.parquet", index=False)
    return KnownLog.read(folder / "log.parquet", bundle.parts.weights)


_REQUEST: Mapping[str, Any] = {
    "candidates": None,
    "history": [],
    "kind": "feed",
    "k": 5,
    "fresh_share": 0.0,
    "fresh_draw": 0.0,
}


@dataclass(frozen=True)
class Serving:
    """Serves as the API does, from what had landed before the moment."""

    bundle: Bundle
    log: KnownLog
    as_of_us: int = AS_OF_US

    def serve(self, users: Sequence[str], **changes: Any) -> list[ServedList]:
        """Return a recorded list of each user."""
        return [self._one(user, **changes) for user in users]

    def _history(self, user: str) -> UserHistory:
        rows = self.log.of_user(user)
        rows = rows[self.log.landed_us[rows] < self.as_of_us][::-1]
        told = self.log.frame.iloc[rows]
        at_us = self.log.all.at_us[rows].tolist()
        event_ids, item_ids, actions, values = (told[name].tolist() for name in _COLUMNS)
        return UserHistory(user, event_ids, item_ids, actions, values, at_us)

    def _one(self, user: str, **changes: Any) -> ServedList:
        history, edge = self._history(user), bucket_edge(self.as_of_us)
        events = replace(self.log.all, items=self.bundle.items, item=self._items()).statistic_events()
        [statistics] = replay_statistics(
            events, Start.of_nothing(len(self.bundle.items)), np.array([edge]), bucket_us=BUCKET_US
        )
        served_id, request = f"r-{user}", {**_REQUEST, **changes.pop("request", {})}
        mixed = {name: request[name] for name in ("k", "fresh_share", "fresh_draw")}
        options = Options(include_seen=True, seed=served_id, **mixed)
        profiles = self.bundle.encode([history])
        [trace] = self.bundle.recommend(profiles, statistics, self.as_of_us, options, trace=True).traces
        considered = Considered(
            ordered_by=trace.order_by,
            feature_names=self.bundle.spec.names,
            source_names=self.bundle.source_names,
            item_ids=self.bundle.items.external(trace.candidates),
            rows=trace.rows,
            ranks=trace.ranks,
            scores=trace.scores,
            unmet=trace.unmet,
        )
        every = np.ones(len(self.bundle.items), dtype=bool)
        origin = Origin(self.bundle.digest, "", self.as_of_us, edge, False, every, None)  # noqa: FBT003  # a row
        served = ServedList(
            recommendation_id=served_id,
            user_id=user,
            served_at_us=self.as_of_us,
            request=request,
            model_version="1",
            history_event_ids=history.event_ids,
            item_ids=[],
            scores=[],
            sources=[],
            reasons=[],
            degraded=False,
            fallback_reason=None,
            lacking=[],
            took_s={},
            origin=origin,
            considered=considered,
        )
        return replace(served, **changes)

    def _items(self) -> Any:
        ids = self.log.all.items.external(self.log.all.item)
        return self.bundle.items.index(ids)


USERS = [f"u{number}" for number in range(12)]


def planted(served: ServedList, name: str, row: int, value: float) -> ServedList:
    """Return a list with another value of a feature."""
    assert served.considered is not None
    rows = served.considered.rows.copy()
    rows[row, list(served.considered.feature_names).index(name)] = value
    return replace(served, considered=replace(served.considered, rows=rows))


def of_origin(served: ServedList, **changes: Any) -> ServedList:
    assert served.origin is not None
    return replace(served, origin=replace(served.origin, **changes))


def found(
    bundle: Bundle, log: KnownLog, lists: Sequence[ServedList], stored: ReadStored | None = None, gone: int = 0
) -> Result:
    outcomes = list(remake(bundle, log, lists, stored))
    sample = Sample(lists, len(lists), len(lists), len(lists), gone)
    return result_of(bundle, "1", sample, outcomes, since=NOW, checked_at=NOW, rules=DriftRules(min_lists=5))


def test_what_was_served_is_made_again_and_a_planted_value_is_named(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    lists = Serving(bundle, log).serve(USERS)
    result = found(bundle, log, lists)
    assert (result.parity.lists, result.parity.different, result.parity.left_out) == (len(USERS), 0, {})
    assert result.parity.rows > 100

    lists[4] = planted(planted(lists[4], "item_idle", 2, 1e6), "item_price", 3, np.nan)
    result = found(bundle, log, lists)
    assert result.status == "skewed"
    assert result.parity.different_ids == ("r-u4",)
    names = {one.name: one for one in result.parity.worst()}
    assert set(names) <= {"item_idle", "item_price"}
    example = names["item_idle"].example
    assert example is not None
    assert lists[4].considered is not None
    assert (example.item_id, example.served) == (lists[4].considered.item_ids[2], 1e6)
    assert lines_of(result)[-1] == "skewed"


def test_a_history_that_serving_did_not_read_is_skew_but_not_one_in_flight(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    whole = Serving(bundle, log)
    rows = log.of_user("u3")
    newest = int(log.all.at_us[rows][log.all.at_us[rows] < AS_OF_US][-1])
    behind = Serving(bundle, log, newest - 60_000_000)
    stale = of_origin(behind.serve(["u3"])[0], as_of_us=AS_OF_US, statistics_closed_at_us=bucket_edge(newest))
    assert found(bundle, log, [stale]).parity.different == 1  # its newest event was there, and was not read
    just_before = Serving(bundle, log, newest)  # it landed within seconds of the moment
    raced = of_origin(just_before.serve(["u3"])[0], as_of_us=newest + 5)
    assert found(bundle, log, [raced]).parity.different == 0
    assert found(bundle, log, whole.serve(["u3"])).parity.different == 0


def test_what_cannot_be_made_again_is_neither_parity_nor_difference(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    serving = Serving(bundle, log)
    gone = serving.serve(["u1"], history_event_ids=["e-erased"])
    inline = serving.serve(["u2"], request={"history": [{"item_id": "i1"}]})
    similar = serving.serve(["u3"], request={"kind": "similar"})
    named = serving.serve(["u4"], request={"candidates": ["i1"]})
    result = found(bundle, log, [*gone, *inline, *similar, *named])
    assert (result.status, result.parity.lists) == ("unknown", 0)
    assert result.parity.left_out == {OWN_CANDIDATES: 2, GONE: 1, INLINE: 1}
    assert result.drift.lists == 2


def test_items_that_joined_the_model_excuse_only_what_they_change(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    one, other = (of_origin(served, arrivals="digest") for served in Serving(bundle, log).serve(["u1", "u2"]))
    result = found(bundle, log, [one, planted(other, "item_idle", 0, 1e6)])
    assert (result.parity.lists, result.parity.different, result.parity.left_out) == (1, 0, {GROWN: 1})


def test_history_that_came_late_is_no_skew_and_hides_none(bundle: Bundle, tmp_path: Path) -> None:
    rows = frame().copy()
    edge_us = bucket_edge(AS_OF_US)
    lists = Serving(bundle, log_of(bundle, rows, tmp_path)).serve(USERS)
    late = rows.iloc[100:140].index
    without = Serving(bundle, log_of(bundle, rows.drop(late), tmp_path)).serve(USERS)
    rows.loc[late, "landed_at"] = pd.to_datetime(AS_OF_US + 3_600_000_000, unit="us", utc=True)
    afterwards = log_of(bundle, rows, tmp_path)
    assert found(bundle, afterwards, without).parity.different == 0
    assert found(bundle, afterwards, lists).parity.different > 0  # they cannot have known

    rows.loc[late, "landed_at"] = pd.to_datetime(edge_us + 1, unit="us", utc=True)  # before or after the refresh?
    unsure = log_of(bundle, rows, tmp_path)
    assert found(bundle, unsure, lists).parity.different == 0
    planted_one = [*lists[1:], planted(lists[0], "item_idle", 0, 1e6)]
    assert found(bundle, unsure, planted_one).status == "skewed"  # the others prove the statistics of that edge
    every = [planted(served, "item_idle", 0, 1e6) for served in lists]
    assert found(bundle, unsure, every).parity.left_out == {LATE: len(lists)}


def test_where_events_are_gone_statistics_are_read_as_stored(bundle: Bundle, tmp_path: Path) -> None:
    before = log_of(bundle, frame(), tmp_path)
    lists = Serving(bundle, before).serve(USERS)
    weights = dict(bundle.parts.weights.to_json())

    def stored(edge_us: int) -> StatisticsRows:
        known = before.all.take(np.flatnonzero(before.all.known_us < edge_us))
        state = final_state(known.statistic_events(), known.start(), bucket_us=BUCKET_US)
        return StatisticsRows(known.items.external(np.arange(len(known.items))), state, edge_us, weights)

    rows = frame()
    after = log_of(bundle, rows[rows["user_id"] != "u30"], tmp_path)
    assert found(bundle, after, lists).parity.different > 0
    result = found(bundle, after, lists, stored, 20)
    assert (result.parity.lists, result.parity.different) == (len(USERS), 0)
    assert "read as stored: 20 events" in "".join(result.reasons)
    weights["actions"] = {}
    planted_all = [planted(served, "item_idle", 0, 1e6) for served in lists]
    assert found(bundle, after, planted_all, stored, 20).parity.left_out == {OTHER_WEIGHTS: len(lists)}


def test_items_that_nobody_met_are_made_again_as_such(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    parts = trained_on_texts()[1]
    knows_texts = open_bundle(path, write_bundle(path, parts, created_at=NOW, code_version="test", seed=0))
    rows = frame()
    unmet_ids = set(knows_texts.items.external(knows_texts.parts.fresh))
    log = log_of(knows_texts, rows[~rows["item_id"].isin(unmet_ids)], tmp_path)
    lists = Serving(knows_texts, log).serve(USERS)
    unmet = [one.considered.unmet.sum() for one in lists if one.considered is not None]
    assert min(unmet) > 0
    result = found(knows_texts, log, lists)
    assert (result.parity.lists, result.parity.different, result.parity.left_out) == (len(USERS), 0, {})
    considered = lists[0].considered
    assert considered is not None
    row = int(np.flatnonzero(considered.unmet)[0])
    result = found(knows_texts, log, [planted(lists[0], "user_events", row, 1e6), *lists[1:]])
    [feature] = result.parity.worst()
    assert feature.example is not None
    assert (feature.name, feature.example.item_id) == ("user_events", considered.item_ids[row])


@pytest.mark.parametrize("lot", [0.0, 0.5])
def test_places_for_what_nobody_met_are_made_again_too(tmp_path: Path, lot: float) -> None:
    path, parts = tmp_path / "bundle", trained_on_texts()[1]
    every = parts.plan.budgets
    few = msgspec.structs.replace(parts.plan, budgets={name: min(every[name], 1) for name in every})
    parts = replace(parts, plan=few)
    bundle = open_bundle(path, write_bundle(path, parts, created_at=NOW, code_version="test", seed=0))
    rows = frame()
    log = log_of(bundle, rows[~rows["item_id"].isin(set(bundle.items.external(bundle.parts.fresh)))], tmp_path)
    lists = Serving(bundle, log).serve(USERS, request={"k": 10, "fresh_share": 0.4, "fresh_draw": lot})
    plain = Serving(bundle, log).serve(USERS, request={"k": 10})
    assert all(_unmet(one) > _unmet(other) for one, other in zip(lists, plain, strict=True))
    result = found(bundle, log, lists)
    assert (result.parity.lists, result.parity.different, result.parity.left_out) == (len(USERS), 0, {})


def _unmet(served: ServedList) -> int:
    assert served.considered is not None
    return int(served.considered.unmet.sum())


def test_bits_are_compared_and_unknown_is_unknown() -> None:
    rows = np.array([[1.0, np.nan], [2.0, np.nan], [0.0, 3.0]], np.float32)
    met = np.zeros(3, dtype=bool)
    then = Considered("ranker", ["a", "b"], [], ["x", "y", "z"], rows, rows, np.zeros(3), met)
    other = rows.copy()
    other[0, 0] = np.nextafter(np.float32(1), np.float32(2))
    other[1, 1] = 4.0
    same = compare("r", then, Remade(["z", "x", "y"], met, rows[[2, 0, 1]]))
    assert same.same
    one = compare("r", then, Remade(["x", "y", "z"], met, other))
    assert one.differs.tolist() == [[True, False], [False, True], [False, False]]
    first, second = by_feature([same, one], ["a", "b"])
    assert (first.rows, first.different, first.largest) == (6, 1, 2.0**-23)
    assert second.example is not None
    assert (second.largest, second.example.served, second.example.remade) == (None, None, 4.0)
    less = compare("r", then, Remade(["x", "new"], met[:2], rows[:2]))
    assert (less.missing, less.added, less.same) == (["y", "z"], ["new"], False)


def test_an_edge_is_proven_by_half_of_its_lists(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    lists = Serving(bundle, log).serve(USERS[:4])
    outcomes = list(remake(bundle, log, [planted(lists[0], "item_idle", 0, 1e6), *lists[1:]]))
    excused = [Outcome(one.served, one.compared, frozenset({LATE})) for one in outcomes]
    assert parity_of(excused, bundle.spec.names).different == 1
    alone = [one for one in excused if one.compared is not None and not one.compared.same]
    assert parity_of(alone, bundle.spec.names).left_out == {LATE: 1}


def test_the_page_and_the_metrics_tell_the_finding(bundle: Bundle, tmp_path: Path) -> None:
    log = log_of(bundle, frame(), tmp_path)
    lists = Serving(bundle, log).serve(USERS)
    result = found(bundle, log, [planted(lists[0], "item_idle", 0, 1e6), *lists[1:]])
    page = page_of(result)
    assert [len(section.pictures) for section in page.sections] == [0, 2]
    assert "item_idle" in {row[0] for row in page.sections[0].grids[0].rows}
    sample = metrics_of(result).get_sample_value
    assert sample("marquee_skew_status", {"status": "skewed"}) == 1
    assert sample("marquee_skew_lists_different") == 1
    assert sample("marquee_skew_psi", {"column": "score"}) == result.drift.score()
    assert result.to_json()["lists"]["different"] == 1


def test_a_bundle_without_a_reference_has_no_drift(bundle: Bundle, tmp_path: Path) -> None:
    older = replace(bundle, parts=replace(bundle.parts, reference=None))
    log = log_of(bundle, frame(), tmp_path)
    result = found(older, log, Serving(bundle, log).serve(USERS))
    assert result.status == "ok"
    assert "train anew" in str(result.drift.unknown)


def tags(status: str, at: str = "2026-11-27T00:00:00+00:00") -> dict[str, str]:
    return {"skew": status, "skew_at": at, "skew_reasons": "2 of 9 lists\nare other"}


@pytest.mark.parametrize(
    ("told", "drift_blocks", "verdict"),
    [
        ({}, False, "passed"),
        (tags("ok"), True, "passed"),
        (tags("unknown"), True, "passed"),
        (tags("skewed"), False, "failed"),
        (tags("skewed", "2026-11-20T00:00:00+00:00"), False, "passed"),
        (tags("skewed", "no time"), False, "passed"),
        (tags("drifted"), False, "passed"),
        (tags("drifted"), True, "failed"),
    ],
)
def test_skew_of_what_serves_leaves_a_promotion_to_a_person(
    told: dict[str, str], *, drift_blocks: bool, verdict: str
) -> None:
    rule = serving_rule(told, NOW, GuardRules(drift_blocks=drift_blocks))
    assert rule.verdict == verdict
    good, poor = np.full(200, 0.5), np.full(200, 0.1)
    decision = decide(replace(evidence(good, None, poor), serving_path=rule), load_rules(), 0)
    assert decision.outcome == ("promoted" if verdict == "passed" else "needs_human")
    assert verdict == "passed" or "2 of 9 lists; are other" in decision.reasons
