"""Challengers that went wrong in training, made by the code that trains: each is refused for what is wrong with it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.build.replay import final_state
from features.contracts.statistics import DAY_US, StatisticsRows, bucket_edge
from features.items import Categories
from tests.support.gate_evidence import HEALTHY
from tests.support.synthetic import N_GROUPS, SMALL, START_US, make_facts, make_interactions
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.write import write_bundle
from training.data import Interactions
from training.gate import decide
from training.gating.evidence import Evidence
from training.gating.gathering import Candidate, gather
from training.gating.provenance import leaks
from training.gating.results import Decision
from training.gating.rules_file import load_rules
from training.gating.window import Window
from training.retrieval import Training, fit_retrieval

RULES = load_rules()
EVENTS = make_interactions(n_users=300, n_items=80)
CHAMPION_UNTIL, UNTIL = START_US + 33 * DAY_US, START_US + 34 * DAY_US

Fit = Callable[..., Bundle]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Return a way to train on what came before a time, as the steps of a run do."""

    def fitted(interactions: Interactions, until_us: int, *, categories: bool = True) -> Bundle:
        known = interactions.take(np.flatnonzero(interactions.at_us < until_us)).with_items_of_rows()
        numbers = np.array([int(item[1:]) for item in known.items.external(np.arange(len(known.items)))])
        offsets = np.arange(len(numbers) + 1) * categories
        index = (numbers % N_GROUPS).astype(np.int32)[: offsets[-1]]
        groups = Categories(("g0", "g1", "g2", "g3"), offsets, index)
        parts = fit_retrieval(Training(known, groups, make_facts(len(numbers)), until_us), SMALL)
        path = tmp_path_factory.mktemp("gate") / "bundle"
        digest = write_bundle(path, parts, created_at=datetime(2026, 1, 1, tzinfo=UTC), code_version="test", seed=0)
        return open_bundle(path, digest)

    return fitted


@pytest.fixture(scope="module")
def champion(fit: Fit) -> Bundle:
    """Return what serves: trained a day less than a challenger of today."""
    return fit(EVENTS, CHAMPION_UNTIL)


def evidence_of(bundle: Bundle, champion: Bundle | None, interactions: Interactions = EVENTS) -> Evidence:
    known = gather(interactions, Candidate(bundle, UNTIL), champion, timed=False)
    return replace(known, doctor=HEALTHY)


def judged(bundle: Bundle, champion: Bundle | None, interactions: Interactions = EVENTS) -> Decision:
    return decide(evidence_of(bundle, champion, interactions), RULES, 0)


def reasons(decision: Decision) -> dict[str, str]:
    """Return why the version was refused, by rule."""
    assert decision.outcome == "refused"
    return {rule.rule: rule.reason for rule in decision.rules if rule.outcome == "refused"}


def test_a_challenger_of_one_more_day_is_promoted(fit: Fit, champion: Bundle) -> None:
    known = evidence_of(fit(EVENTS, UNTIL), champion)
    assert known.window_start_us == UNTIL
    assert known.users >= RULES.min_users
    decision = decide(known, RULES, 0)
    assert decision.outcome == "promoted"
    assert decision.to_json()["verdict"] in {"not worse", "better"}


def test_a_truncated_snapshot_is_refused_by_its_volume(fit: Fit, champion: Bundle) -> None:
    kept = (np.random.default_rng(0).random(len(EVENTS)) < 0.1) | (EVENTS.at_us >= UNTIL)
    snapshot = EVENTS.take(np.flatnonzero(kept))
    bundle = fit(snapshot, UNTIL)
    assert "the champion from 4,9" in reasons(judged(bundle, champion, snapshot))["volume"]
    # A whole snapshot of which training saw a tenth only tells without a champion, too.
    assert set(reasons(judged(bundle, None))) >= {"volume"}


def test_shuffled_labels_are_refused_by_what_users_did(fit: Fit, champion: Bundle) -> None:
    shuffled = replace(EVENTS, item=np.random.default_rng(0).permutation(EVENTS.item))
    found = reasons(judged(fit(shuffled, UNTIL), champion))
    assert "champion" in found
    assert "leak" not in found
    # Tastes in categories it would still have right: without these it is no better than popular items.
    assert "popularity" in reasons(judged(fit(shuffled, UNTIL, categories=False), None))


def test_last_months_data_are_refused_as_stale(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, START_US + 10 * DAY_US)
    assert "24.0 days before" in reasons(judged(bundle, champion))["freshness"]
    last_month = EVENTS.take(np.flatnonzero(EVENTS.at_us < START_US + 12 * DAY_US))
    known = gather(last_month, Candidate(bundle, START_US + 10 * DAY_US), champion)
    assert known.users == 0
    assert "23.0 days before" in reasons(decide(known, RULES, 0))["freshness"]


def test_a_model_of_the_judging_window_is_refused_as_a_leak(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, START_US + 40 * DAY_US)
    assert "but the judging window begins at" in reasons(judged(bundle, champion))["leak"]
    all_of_it = gather(EVENTS, Candidate(bundle, bundle.manifest.trained_until_us), champion)
    assert "leaves nothing of the run's data to judge it on" in reasons(decide(all_of_it, RULES, 0))["leak"]


def test_a_leak_is_seen_though_the_manifest_denies_it(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, UNTIL + 4 * DAY_US)
    denied = msgspec.structs.replace(bundle.manifest, trained_until_us=UNTIL, n_interactions=1)
    decision = judged(replace(bundle, manifest=denied), champion)
    assert decision.to_json()["verdict"] == "better"
    assert "interactions, but there were" in reasons(decision)["leak"]


def test_a_leak_is_seen_by_items_that_nobody_had_met(fit: Fit, champion: Bundle) -> None:
    numbers = np.array([int(item[1:]) for item in EVENTS.items.external(np.arange(80))])
    early = (numbers[EVENTS.item] != 7) | (EVENTS.at_us >= UNTIL)
    without = EVENTS.take(np.flatnonzero(early))
    bundle = fit(EVENTS, UNTIL)
    assert (
        "learned of 1 items that nobody met before the judging window, such as i7"
        in reasons(judged(bundle, champion, without))["leak"]
    )


def test_what_was_erased_since_is_no_leak(fit: Fit, champion: Bundle) -> None:
    bundle, left = fit(EVENTS, UNTIL), EVENTS.take(np.flatnonzero(EVENTS.user != 5))
    assert gather(left, Candidate(bundle, UNTIL), champion, timed=False).leaks
    erased = len(EVENTS) - len(left)
    assert not gather(left, Candidate(bundle, UNTIL, erased), champion, timed=False).leaks


def test_an_empty_category_is_refused_by_its_name(fit: Fit, champion: Bundle) -> None:
    some = EVENTS.take(np.flatnonzero(EVENTS.item % N_GROUPS != 1))
    found = reasons(judged(fit(some, UNTIL), champion))
    assert "g1: 0 of 20 (0.0%)" in found["categories"]
    assert "knows 60 of 80 (75.0%)" in found["items"]
    assert "champion" in found


def test_items_that_lost_their_category_count_as_lost_in_it(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, UNTIL)
    only_g0 = Categories(("g0",), np.arange(len(bundle.items) + 1), np.zeros(len(bundle.items), np.int32))
    bare = replace(bundle, parts=replace(bundle.parts, categories=only_g0))
    found = reasons(judged(bare, champion))["categories"]
    assert "3 of the champion's 4 categories" in found
    assert "g1: 0 of 20 (0.0%); g2: 0 of 20 (0.0%); g3: 0 of 20 (0.0%)" in found


def test_what_the_run_kept_of_the_same_window_stands_for_new_lists(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, UNTIL)
    fresh = evidence_of(bundle, champion)
    listed = Window(EVENTS, UNTIL).shown_by(bundle)
    kept = gather(EVENTS, Candidate(bundle, UNTIL, listed=listed, popularity=fresh.popularity), champion, timed=True)
    assert kept.candidate.values is listed.values
    for metric, expected in fresh.candidate.values.items():
        np.testing.assert_array_equal(kept.candidate.values[metric], expected)
    assert kept.candidate.shown_items == fresh.candidate.shown_items
    assert kept.candidate.average_popularity == fresh.candidate.average_popularity > 0
    assert kept.candidate.latency_ms is not None
    assert kept.champion is not None
    assert kept.champion.model.latency_ms is not None
    assert {"labels of the head", "labels of the tail"} < set(kept.champion.segments)


def test_each_model_reads_histories_by_its_own_weights(fit: Fit, champion: Bundle) -> None:
    bundle = fit(EVENTS, UNTIL)
    otherwise = replace(EVENTS, weight=np.where(EVENTS.item % 2, -EVENTS.weight, EVENTS.weight))
    read = {id(bundle): EVENTS, id(champion): otherwise}
    window = Window(EVENTS, UNTIL, reads=lambda one: read[id(one)])

    alike = Window(EVENTS, UNTIL)
    np.testing.assert_array_equal(window.shown_by(bundle).lists, alike.shown_by(bundle).lists)
    assert (window.shown_by(champion).lists != alike.shown_by(champion).lists).any()
    assert window.judged(champion).users.tolist() == alike.own.users.tolist()


def test_what_was_published_in_the_window_is_shown_by_nobody(fit: Fit, tmp_path: Path) -> None:
    bundle = fit(EVENTS, UNTIL)
    ids = bundle.items.external(np.arange(len(bundle.items)))
    published = pa.array([UNTIL + DAY_US] * len(ids), pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"item_id": ids, "published_at": published}), tmp_path / "items.parquet")
    judged = Window(EVENTS, UNTIL, items_file=tmp_path / "items.parquet").judged(bundle)
    assert judged.eligible is not None
    met = np.bincount(judged.history.item, minlength=len(bundle.items)) > 0
    np.testing.assert_array_equal(judged.eligible, met)


def test_what_became_known_after_the_window_began_counts_as_nothing_before_it(fit: Fit) -> None:
    before = np.flatnonzero(EVENTS.at_us < UNTIL)
    late, known_us = before[::3], EVENTS.known_us.copy()
    known_us[late] = UNTIL + DAY_US
    events, without = replace(EVENTS, known_us=known_us), EVENTS.take(np.setdiff1d(np.arange(len(EVENTS)), late))
    window, expected = Window(events, UNTIL), Window(without, UNTIL)
    np.testing.assert_array_equal(window.popularity.users, expected.popularity.users)
    np.testing.assert_array_equal(window.history_length, expected.history_length)

    bundle = fit(without, UNTIL)
    assert evidence_of(bundle, None, events).interactions_before == len(before) - len(late)
    assert not leaks(bundle, events, UNTIL)
    [sign] = leaks(fit(EVENTS, UNTIL), events, UNTIL)
    assert f"learned from {len(before):,} interactions, but there were {len(before) - len(late):,} before" in sign


def test_what_items_had_met_that_retention_deleted_among_the_rest_is_no_leak(fit: Fit) -> None:
    edge_us = bucket_edge(UNTIL - 5 * DAY_US)
    then = EVENTS.take(np.flatnonzero(EVENTS.known_us < edge_us))
    state = final_state(then.statistic_events(), then.start(), bucket_us=then.bucket_us)
    ids = EVENTS.items.external(np.arange(len(EVENTS.items)))
    gone = np.flatnonzero(EVENTS.known_us < edge_us)[::3]
    left = replace(
        EVENTS.take(np.setdiff1d(np.arange(len(EVENTS)), gone)), counted=StatisticsRows(ids, state, edge_us, {})
    )

    bundle = fit(left, UNTIL)

    assert bundle.parts.state.seen.sum() == bundle.manifest.n_interactions + len(gone)
    assert not leaks(bundle, left, UNTIL)
    assert leaks(bundle, replace(left, counted=None), UNTIL), "nothing but what was counted tells of them"
