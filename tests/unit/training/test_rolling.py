"""Windows of a rolling backtest: as long as the last, end to end, and their mean."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.contracts.times import to_us
from tests.support.synthetic import make_interactions
from training.evaluation.resampling import bootstrap_columns
from training.rolling import Rolling, Window, earlier_cuts, window_of


def test_windows_step_back_by_their_own_length() -> None:
    interactions = make_interactions()
    end = int(interactions.at_us[-1]) + 1
    width = (end - int(interactions.at_us[0])) // 10
    cuts = earlier_cuts(interactions, end - width, 3)
    assert cuts == [(end - 3 * width, end - 2 * width), (end - 2 * width, end - width)]
    assert earlier_cuts(interactions, end - width, 1) == []
    with pytest.raises(ContractError, match="ask for fewer, or cut later"):
        earlier_cuts(interactions, end - 4 * width, 3)


def test_mean_of_windows_weighs_each_alike() -> None:
    rng = np.random.default_rng(0)
    values = [rng.random(size) for size in (20, 80)]
    windows = tuple(Window(str(n), str(n + 1), {"marquee": {"ndcg@10": entry}}) for n, entry in enumerate(values))
    rolling = Rolling(windows, seed=5)
    found = rolling.mean()["marquee"]["ndcg@10"]
    assert found.mean == pytest.approx(np.mean([entry.mean() for entry in values]))
    drawn = np.mean([bootstrap_columns(entry[:, None], 5 + n)[1][:, 0] for n, entry in enumerate(values)], axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert [window["users"] for window in rolling.to_json()["windows"]] == [20, 80]


def test_methods_that_a_window_lacks_have_no_mean() -> None:
    one = Window("0", "1", {"marquee": {"ndcg@10": np.ones(3)}, "EASE": {"ndcg@10": np.ones(3)}})
    two = Window("1", "2", {"marquee": {"ndcg@10": np.zeros(3)}})
    assert list(Rolling((two, one), seed=0).mean()) == ["marquee"]


def test_times_read_as_people_write_them() -> None:
    interactions = make_interactions()
    window = window_of(interactions, 86_430_000_001, 1_700_000_000_123_457, {})
    assert (window.begin, window.name) == ("1970-01-02T00:00:30.000001+00:00", "1970-01-02T00:00+00:00")
    assert to_us(datetime.fromisoformat(window.end)) == 1_700_000_000_123_457, (
        "what the JSON tells cuts as the window did"
    )
    numbered = window_of(replace(interactions, has_clock=False), 5, 7, {})
    assert (numbered.begin, numbered.name, numbered.end) == ("5", "5", "7")
