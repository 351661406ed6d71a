"""What stands beside new items where they validate: what was there as well, and nobody wanted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.synthetic import SMALL, make_categories, make_facts, make_interactions, make_texts
from training.fresh_slices import truly_new
from training.idle import JUST_COME, idle_items
from training.moments import Moment, moment_of, position_moments
from training.retrieval import Training
from training.slices import make_slices
from training.split import cutoff_split

N_ITEMS = 80
MET = 20
ALLOWED = int(JUST_COME * MET)


def training(met: int = MET, *, came_us: Sequence[int | None] | None = None) -> Training:
    """Return made-up data of a catalogue in which only the first items were met; every ninth has no text."""
    known = make_interactions(n_users=240, n_items=met)
    known = known.with_more_items([f"i{number}" for number in range(met, N_ITEMS)]).on_backtest_clock()
    came = None
    if came_us is not None:
        came = np.array(["NaT" if at is None else np.datetime64(at, "us") for at in came_us], "datetime64[us]")
    return Training(known, make_categories(), make_facts(), int(known.at_us[-1]) + 1, make_texts(), came)


def moment(made: Training) -> Moment:
    at = int(np.quantile(made.interactions.at_us, 0.8))
    return moment_of(made.interactions, cutoff_split(made.interactions, at), at)


def unmet_with_text(made: Training, met: int = MET) -> npt.NDArray[np.bool_]:
    assert made.texts is not None
    return np.asarray(made.texts.vectors.any(axis=1) & (np.arange(N_ITEMS) >= met))


def test_of_unmet_items_those_are_idle_that_are_too_many_to_have_just_come() -> None:
    made = training()
    idle, unmet = idle_items(made, moment(made), seed=1), unmet_with_text(made)
    assert idle.sum() == unmet.sum() - ALLOWED > 0
    assert not idle[~unmet].any()
    np.testing.assert_array_equal(idle, idle_items(made, moment(made), seed=1))
    assert (idle != idle_items(made, moment(made), seed=2)).any()


def test_where_few_are_unmet_all_may_have_just_come() -> None:
    made = training(met=60)
    assert not idle_items(made, moment(made), seed=1).any()
    assert not idle_items(replace(made, texts=None), moment(made), seed=1).any()


def test_what_the_catalogue_tells_of_an_items_coming_decides() -> None:
    at = moment(training()).as_of_us[0]
    came: list[int | None] = [None] * N_ITEMS
    came[30:50] = [int(at) - 1] * 20
    came[50:80] = [int(at) + 1] * 30
    made = training(came_us=came)
    idle, unmet = idle_items(made, moment(made), seed=1), unmet_with_text(made)
    np.testing.assert_array_equal(idle[30:50], unmet[30:50])
    assert not idle[50:].any()
    assert idle[20:30].sum() == max(unmet[20:30].sum() - ALLOWED, 0)


@pytest.mark.parametrize("by_hidden", [True, False])
def test_idle_items_are_candidates_where_new_ones_validate_and_nowhere_else(by_hidden: bool) -> None:  # noqa: FBT001
    made = training(met=40)
    known = made.interactions
    at = [int(np.quantile(known.at_us, share)) for share in (0.8, 0.5)]
    if not by_hidden:  # some items that everybody liked were met late
        late = np.isin(known.item, np.arange(10)) & (known.at_us < at[0])
        known = known.take(np.flatnonzero(~late))
        made = replace(made, interactions=known)
    by_time = [moment_of(known, cutoff_split(known, one), one) for one in at]
    by_time[1] = moment_of(by_time[0].history, cutoff_split(by_time[0].history, at[1]), at[1])
    moments = position_moments(known, 0.2, 2) if by_hidden else by_time
    assert truly_new(moments) == (not by_hidden)
    idle = idle_items(made, moments[0], SMALL.seed)
    assert idle.any()
    slices = make_slices(made, moments, replace(SMALL, new_items=True)).fresh
    assert slices is not None
    later = np.concatenate([items for items in slices.later.items if items is not None])
    assert idle[later].any()
    assert not idle[later].all()
    assert not idle[np.concatenate([items for items in slices.earlier.items if items is not None])].any()
