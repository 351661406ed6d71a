"""A diff says what is different between two versions, and nothing where they are the same."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts.statistics import DAY_US
from tests.support.synthetic import SMALL, START_US, make_facts, make_interactions
from training.als import AlsConfig
from training.bundle.read import open_bundle
from training.bundle.versions import RegisteredVersion
from training.bundle.write import write_bundle
from training.config import TrainingConfig
from training.diff.agreement import overlap, rank_biased_overlap
from training.diff.compute import Data, diff_of
from training.diff.page import page_of
from training.diff.result import Diff
from training.diff.sample import sample_users
from training.diff.sides import Side
from training.frames import load_categories, load_interactions
from training.gating.gathering import Candidate, gather
from training.gating.power import Margin
from training.gating.verdicts import Sampling, compare
from training.report import render
from training.retrieval import Training, fit_retrieval

MakeSide = Callable[..., Side]

AT = datetime(2026, 3, 1, tzinfo=UTC)
CUT_US = START_US + 30 * DAY_US
TITLE = "<b>item</b> & no. {} $\\frac$"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Return forty days of interactions, and titles that would break a page which did not escape them."""
    folder = tmp_path_factory.mktemp("data")
    made = make_interactions()
    rows = {
        "user_id": made.users.external(made.user),
        "item_id": made.items.external(made.item),
        "occurred_at": pd.to_datetime(made.at_us, unit="us", utc=True),
    }
    pd.DataFrame(rows).to_parquet(folder / "interactions.parquet")
    items = made.items.external(np.arange(len(made.items)))
    catalogue = {
        "item_id": items,
        "title": [TITLE.format(item) for item in items],
        "categories": [[f"group $\\frac$ {int(item[1:]) % 4}"] for item in items],
    }
    pd.DataFrame(catalogue).to_parquet(folder / "items.parquet")
    return Data(load_interactions(folder / "interactions.parquet"), folder / "items.parquet", "made up")


@pytest.fixture(scope="module")
def make_side(data: Data, tmp_path_factory: pytest.TempPathFactory) -> MakeSide:
    """Return what trains a version on everything before a time."""

    def make(number: str, until_us: int = CUT_US, config: TrainingConfig = SMALL) -> Side:
        rows = np.flatnonzero(data.loaded.interactions.at_us < until_us)
        known = data.loaded.interactions.take(rows).with_items_of_rows()
        categories = load_categories(data.items_file, known.items)
        parts = fit_retrieval(Training(known, categories, make_facts(len(known.items)), until_us), config)
        folder = tmp_path_factory.mktemp("bundle") / "bundle"
        digest = write_bundle(folder, parts, created_at=AT, code_version="test", seed=0)
        return Side(RegisteredVersion(number, digest, f"run{number}"), open_bundle(folder, digest))

    return make


@pytest.fixture(scope="module")
def sides(make_side: MakeSide) -> tuple[Side, Side]:
    """Return two versions with other factors, the second one trained later."""
    other = replace(SMALL, als=AlsConfig(factors=16, iterations=2), seed=5)
    return make_side("1", CUT_US - 20 * DAY_US), make_side("2", CUT_US, other)


@pytest.fixture(scope="module")
def diff(data: Data, sides: tuple[Side, Side]) -> Diff:
    return diff_of(sides, data, users=40)


def test_a_version_is_not_different_from_itself(data: Data, sides: tuple[Side, Side]) -> None:
    found = diff_of((sides[1], sides[1]), data, users=40)
    assert set(found.overlaps) == {1.0}
    assert found.agreement[0].rank_biased.mean == pytest.approx(1.0)
    assert found.exposure.items == []
    assert {one.change for one in (*found.exposure.categories, *found.exposure.sources)} == {0.0}
    assert {one.verdict for one in found.verdicts.metrics} == {"not distinguishable"}
    assert all(place.other_rank == rank for pair in found.pairs for rank, place in enumerate(pair.second, start=1))


def test_what_is_different_is_told(diff: Diff, sides: tuple[Side, Side]) -> None:
    assert diff.name == "1-2"
    assert 0 < diff.agreement[0].overlap.mean < 1
    assert sum(one.users for one in diff.agreement[1:]) == len(diff.sample) == 40
    first, second = diff.exposure.shown
    assert first.sum() == second.sum() == 40 * 10
    assert sum(one.change for one in diff.exposure.items) == 0
    assert [abs(one.change) for one in diff.exposure.items] == sorted(
        (abs(one.change) for one in diff.exposure.items), reverse=True
    )
    assert diff.verdicts.users > 20
    assert set(diff.verdicts.segments) == {"length of history", "users", "liked items"}
    assert len(diff.speed.first) == len(diff.speed.second) == 40
    assert diff.to_json()["bytes"] == [side.size for side in sides]


def test_the_gate_tells_the_same_interval_of_the_same_users(diff: Diff, data: Data, sides: tuple[Side, Side]) -> None:
    first, second = (side.bundle for side in sides)
    evidence = gather(
        data.loaded.interactions, Candidate(second, CUT_US), first, items_file=data.items_file, timed=False
    )
    assert evidence.champion is not None
    judged = evidence.candidate, evidence.champion.model
    ours, theirs = (model.values["ndcg@10"] for model in judged)  # noqa: PD011  # no data frame
    of_gate = compare(ours, theirs, [Margin(0.05)], Sampling()).difference
    of_diff = diff.verdicts.metrics[0].difference
    assert (of_diff.mean, of_diff.low, of_diff.high) == pytest.approx((of_gate.mean, of_gate.low, of_gate.high))


def test_one_seed_gives_one_diff_and_another_seed_other_users(diff: Diff, data: Data, sides: tuple[Side, Side]) -> None:
    again = diff_of(sides, data, users=40)
    assert np.array_equal(again.sample.users, diff.sample.users)
    assert again.pairs == diff.pairs
    assert again.verdicts == diff.verdicts
    other = sample_users(data.loaded.interactions, 40, seed=1)
    assert not np.array_equal(other.users, diff.sample.users)


def test_no_window_is_left_where_one_was_fitted_on_everything(
    data: Data, sides: tuple[Side, Side], make_side: MakeSide
) -> None:
    newest = make_side("3", int(data.loaded.interactions.at_us[-1]) + 1)
    found = diff_of((sides[0], newest), data, users=12)
    assert found.verdicts.metrics == []
    assert "version 3 was fitted on data up to" in found.verdicts.why_not
    page = render(page_of(found))
    assert "no window is left that neither version was fitted on" in page


def test_what_came_into_the_catalogue_after_both_is_shown_by_neither(
    data: Data, sides: tuple[Side, Side], tmp_path: Path
) -> None:
    at_us, new = data.loaded.interactions.at_us, data.loaded.interactions.item < 20
    came = data.loaded.take(np.flatnonzero((at_us >= CUT_US) == new))  # nobody had met these, and then only these
    published = pd.to_datetime([CUT_US + DAY_US] * 20, unit="us", utc=True)
    listed = {"item_id": came.interactions.items.external(np.arange(20)), "published_at": published}
    pd.DataFrame(listed).to_parquet(file := tmp_path / "items.parquet")
    shown, hidden = (diff_of(sides, Data(came, path, ""), users=12).verdicts for path in (data.items_file, file))
    assert max(one.second.mean for one in shown.metrics) > 0
    assert {side.mean for one in hidden.metrics for side in (one.first, one.second)} == {0.0}


def test_the_page_escapes_titles_names_no_user_and_loads_nothing(diff: Diff, data: Data) -> None:
    page = render(page_of(diff))
    assert "&lt;b&gt;item&lt;/b&gt; &amp; no. i" in page
    assert "<b>item</b>" not in page
    users = data.loaded.interactions.users.external(diff.sample.users)
    assert not [user for user in users if f">{user}<" in page or f" {user} " in page]
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("data:image/png;base64,") == 5


def test_lists_of_unequal_length_are_compared_up_to_the_shorter() -> None:
    first, second = np.array([[1, 2, 3, -1], [-1] * 4]), np.array([[1, 2, -1, -1], [1, 2, 3, 4]])
    assert overlap(first, second, 4).tolist() == pytest.approx([2 / 3, 0.0])
    assert rank_biased_overlap(first, second)[0] == pytest.approx(1.0)
    assert np.isnan(rank_biased_overlap(first, second)[1])
