"""Windows of a rolling backtest: as long as the last, end to end, and their mean."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from features.contracts.errors import ContractError
from features.contracts.statistics import DAY_US
from features.contracts.times import to_us, told
from tests.support.synthetic import make_interactions
from training.backtest_sections import rolling_section
from training.evaluation.resampling import bootstrap_columns
from training.metrics import Estimate
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


def test_more_windows_than_fit_are_told_in_times_of_people_with_how_many_would() -> None:
    interactions = make_interactions()
    end = int(interactions.at_us[-1]) + 1
    width = 4 * DAY_US
    fit = (end - width - int(interactions.at_us[0]) - 1) // width
    begins, cutoff = told(int(interactions.at_us[0])), told(end - width)
    with pytest.raises(ContractError) as refused:
        earlier_cuts(interactions, end - width, 99)
    assert str(refused.value) == (
        f"--rolling 99: of 98 windows of 4 days, 0:00:00 before the cutoff {cutoff} only {fit} fit, as the data begin "
        f"at {begins}; --rolling {fit + 1} is the most here: ask for fewer, or cut later"
    )
    assert len(earlier_cuts(interactions, end - width, fit + 1)) == fit
    counted = replace(interactions, has_clock=False, at_us=np.arange(len(interactions)))
    with pytest.raises(ContractError, match=r"windows of 10 before the cutoff \d+ only \d+ fit, as .* begin at 0;"):
        earlier_cuts(counted, len(counted) - 10, len(counted))
    with pytest.raises(ContractError, match=f"nothing follows the cutoff {told(end)}"):
        earlier_cuts(interactions, end, 2)


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


def test_a_line_tells_the_mean_of_the_cuts_that_count() -> None:
    some = Window("0", "1", {"marquee": {"ndcg@10": np.full(3, 0.5)}})
    nobody = Window("1", "2", {"marquee": {"ndcg@10": np.empty(0)}})
    told_of_two = "NDCG@10 0.5000 (0.5000 to 0.5000) in the mean of 2 cuts"
    assert Rolling((some, some), seed=0).line == told_of_two
    assert Rolling((some, nobody, some), seed=0).line.startswith(f"{told_of_two}; nobody was judged at 1 of 3 cuts")
    assert Rolling((nobody, nobody), seed=0).line.startswith("nobody was judged at 2 of 2 cuts")


def test_windows_in_which_nobody_was_judged_are_no_part_of_the_mean_and_are_said_to_be_none() -> None:
    some = Window("0", "1", {"marquee": {"ndcg@10": np.ones(3)}, "EASE": {"ndcg@10": np.zeros(3)}})
    nobody = Window("1", "2", {"marquee": {"ndcg@10": np.empty(0)}})
    for windows in ((some, nobody), (nobody, some)):
        rolling = Rolling(windows, seed=0)
        assert rolling.mean()["marquee"]["ndcg@10"] == Estimate(1.0, 1.0, 1.0)
        assert rolling.left_out == "nobody was judged at 1 of 2 cuts (1): no mean counts them"
        assert rolling.to_json()["windows_in_mean"] == 1
        section = rolling_section(rolling, ["marquee", "EASE"])
        assert "Nobody was judged at 1 of 2 cuts (1): no mean counts them." in section.words
        rows = {row[0]: row[1:] for row in section.grids[0].rows}
        assert rows["1"] == ["0", "nobody judged", "nobody judged"]
        assert rows["mean of 1 of 2 cuts"][1] == "1.0000 [1.0000, 1.0000]"
    assert not Rolling((some, some), seed=0).left_out


def test_without_anybody_judged_at_any_cut_there_is_no_mean_and_no_picture() -> None:
    nobody = Window("1", "2", {"marquee": {"ndcg@10": np.empty(0)}})
    rolling = Rolling((nobody, nobody), seed=0)
    assert np.isnan(rolling.mean()["marquee"]["ndcg@10"].mean)
    section = rolling_section(rolling, ["marquee"])
    assert not section.pictures
    assert {cell for row in section.grids[0].rows for cell in row[2:]} == {"nobody judged"}


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
    counted = replace(interactions, has_clock=False)
    numbered = window_of(counted, 5, 7, {})
    assert (numbered.begin, numbered.name, numbered.end) == ("5", "5", "7")
    assert window_of(counted, 20_110_920, 20_110_930, {}).name == "20110920", "as the file writes it, and the next cut"
