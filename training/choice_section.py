"""What serves, and why, as a section of a report."""

from typing import Final

from training.bundle.plan import RANKER
from training.choice import FEWEST_LEADS, Choice, Lead
from training.evaluation.methods import title_of
from training.metrics import STANDARD_ERRORS
from training.ranker import REFIT_GAIN
from training.report import Grid, Section

_RULE: Final = (
    f"An order without a ranker serves where its lead is clear: above {STANDARD_ERRORS} standard errors of the "
    f"difference on the same lists, above {REFIT_GAIN:.0%} of the ranker's NDCG@10 (before it serves, the ranker also "
    f"learns of the lists that it is validated on), and on {FEWEST_LEADS} lists or more. Otherwise the ranker serves."
)
_OBJECTIVES: Final = (
    "The ranker adds up the scores of models of several objectives; of all of them, unless fewer are clearly better."
)


def choice_section(choice: Choice) -> Section:
    """Return what was compared on the validation slice, which of it serves, and why; something has to have been."""
    return Section(
        "serves",
        "What serves, and why",
        [f"{_reason(choice)} {_slice(choice)}", _RULE, _OBJECTIVES],
        (),
        [
            Grid(
                ["order", "NDCG@10", "lead on the ranker", "clear above", "lists changed", "outcome"],
                _orders(choice),
                title_of(choice.order_by),
            ),
            Grid(["the ranker made of", "NDCG@10", "outcome"], _objectives(choice)),
        ],
    )


def instead(choice: Choice) -> str | None:
    """Return in words what serves instead of the ranker, and why; None where the ranker serves."""
    if choice.order_by == RANKER:
        return None
    lead = choice.leads[choice.order_by]
    return (
        f"No ranker serves: {title_of(choice.order_by)} clearly leads it on the validation slice, by {lead.mean:.4f} "
        "in NDCG@10, and orders the lists."
    )


def _reason(choice: Choice) -> str:
    instead_of = instead(choice)
    if instead_of is not None:
        return instead_of
    best = max(choice.leads, key=lambda name: choice.leads[name].total)
    lead = choice.leads[best]
    if lead.total <= 0:
        return f"The ranker serves: no other order leads it; {title_of(best)} comes closest."
    return f"The ranker serves: {title_of(best)} leads it by {lead.mean:.4f} in NDCG@10, which is not clear."


def _slice(choice: Choice) -> str:
    lists = max(lead.lists for lead in choice.leads.values())
    return f"All were compared on {lists:,} lists of the validation slice, which none of them had learned from."


def _orders(choice: Choice) -> list[list[str]]:
    """Return a row for each order, the best first."""
    names = sorted([RANKER, *choice.leads], key=lambda name: -choice.ndcg[name])
    return [[title_of(name), f"{choice.ndcg[name]:.4f}", *_cells(choice, name)] for name in names]


def _cells(choice: Choice, name: str) -> list[str]:
    serves = "serves" if name == choice.order_by else ""
    if name == RANKER:
        return ["", "", "", serves or "not served"]
    lead = choice.leads[name]
    return [f"{lead.mean:+.4f}", f"{lead.asked:.4f}", f"{lead.changed:,}", serves or _verdict(lead)]


def _verdict(lead: Lead) -> str:
    if lead.is_clear:
        return "leads clearly, but is not the best"
    return "leads, not clearly" if lead.total > 0 else "behind"


def _objectives(choice: Choice) -> list[list[str]]:
    return [
        [name, f"{value:.4f}", "chosen" if name == choice.chosen else ""] for name, value in choice.objectives.items()
    ]
