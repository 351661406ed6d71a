"""What serves is told with its reason, by the names that people know."""

import msgspec
import numpy as np
import pytest

from training.choice import Choice, Lead, lead_over
from training.choice_section import choice_section, instead

NDCG = {"lambdarank": 0.2, "binary": 0.19, "lambdarank + binary": 0.21, "ranker": 0.21, "trend_1d": 0.22, "als": 0.1}


def choice(order_by: str, trend: Lead) -> Choice:
    return Choice(order_by, "lambdarank + binary", NDCG, {"trend_1d": trend, "als": Lead(-11.0, 3.0, 90, 100)})


def test_a_lead_is_clear_beyond_chance_and_the_handicap() -> None:
    default = np.full(100, 0.5)
    noise = np.tile([0.1, -0.1], 50)
    lead = lead_over(default, default + noise + 0.01, handicap=0.05)
    assert (lead.mean, lead.asked) == pytest.approx((0.01, 0.025))
    assert not lead.is_clear
    assert lead_over(default, default + noise + 0.03, handicap=0.05).is_clear
    assert lead_over(default, default + noise + 0.01, handicap=0.05).changed == 100
    assert lead_over(default, default + noise).asked == pytest.approx(1.96 * 0.1 / np.sqrt(100))
    assert lead_over(np.empty(0), np.empty(0)) == Lead(0.0, 0.0, 0, 0)


def test_where_another_order_serves_the_report_says_which_and_why() -> None:
    led = choice("trend_1d", Lead(4.0, 3.0, 90, 100))
    section = choice_section(led)
    assert section.words[0].startswith("No ranker serves: recent popularity (1 day) clearly leads it")
    assert "by 0.0400 in NDCG@10" in section.words[0]
    assert "100 lists" in section.words[0]
    orders, objectives = section.grids
    assert orders.rows == [
        ["recent popularity (1 day)", "0.2200", "+0.0400", "0.0300", "90", "serves"],
        ["ranker", "0.2100", "", "", "", "not served"],
        ["ALS", "0.1000", "-0.1100", "0.0300", "90", "behind"],
    ]
    assert orders.ours == "recent popularity (1 day)"
    assert objectives.rows == [
        ["lambdarank", "0.2000", ""],
        ["binary", "0.1900", ""],
        ["lambdarank + binary", "0.2100", "chosen"],
    ]


def test_where_the_ranker_serves_the_report_says_whether_something_leads_it() -> None:
    ahead = choice("ranker", Lead(1.0, 3.0, 90, 100))
    assert instead(ahead) is None
    section = choice_section(ahead)
    assert section.words[0].startswith(
        "The ranker serves: recent popularity (1 day) leads it by 0.0100 in NDCG@10, which is not clear."
    )
    assert [row[-1] for row in section.grids[0].rows] == ["leads, not clearly", "serves", "behind"]
    behind = choice("ranker", Lead(-1.0, 3.0, 90, 100))
    assert "no other order leads it; recent popularity (1 day) comes closest" in choice_section(behind).words[0]


def test_only_the_best_of_those_that_clearly_lead_serves() -> None:
    leads = {"trend_1d": Lead(4.0, 3.0, 90, 100), "als": Lead(3.5, 3.0, 90, 100)}
    rows = choice_section(Choice("trend_1d", "lambdarank + binary", NDCG, leads)).grids[0].rows
    assert {row[0]: row[-1] for row in rows}["ALS"] == "leads clearly, but is not the best"


def test_a_step_hands_the_choice_on_as_json() -> None:
    made = choice("trend_1d", Lead(4.0, 3.0, 90, 100))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(made))), Choice) == made
