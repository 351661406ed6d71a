"""What ``python -m training weights`` does, and the line that a backtest says of its weights."""

from pathlib import Path

import numpy as np
from rich.table import Table

from features.cli.plain import plain_console
from features.contracts.found_weights import why
from features.contracts.weights import ActionWeights
from features.contracts.weights_file import SaidWeights, load_weights
from training.frames import Loaded, load_interactions


def execute(interactions: Path, said: Path | None) -> None:
    """Print the table of a file's actions.

    Raises
    ------
    ContractError
        If a file breaks its contract.
    """
    rules = load_weights(said)
    loaded = load_interactions(interactions, said=rules)
    shown = plain_console(160)
    shown.print(_table(loaded, rules))
    if _has_ratings(loaded):
        shown.print(_of_ratings(loaded.weights), soft_wrap=True)


def said_of(loaded: Loaded) -> str:
    """Return in a line what each action weighs that occurs, the most frequent first."""
    names = _by_frequency(loaded)
    found = [f"{name} {_base(name, loaded.weights)}" for name in names]
    ratings = f"; {_of_ratings(loaded.weights)}" if _has_ratings(loaded) else ""
    return f"weights: {', '.join(found)}{ratings}"


def _table(loaded: Loaded, said: SaidWeights) -> Table:
    table = Table(title=f"{len(loaded.interactions)} events of {len(loaded.user_values)} users")
    for column in ("action", "events", "users", "rule", "weight", "why"):
        table.add_column(column, justify="right" if column in {"events", "users", "weight"} else "left")
    users = _users(loaded)
    for name in [*_by_frequency(loaded), *sorted(set(said.actions) - set(loaded.shape.events))]:
        weight = loaded.weights.actions.get(name)
        table.add_row(
            name,
            str(loaded.shape.events.get(name, 0)),
            str(users.get(name, 0)),
            "-" if weight is None else weight.rule,
            _base(name, loaded.weights),
            why(name, loaded.shape, loaded.weights, said),
        )
    return table


def _by_frequency(loaded: Loaded) -> list[str]:
    events = loaded.shape.events
    return sorted(events, key=lambda name: (-events[name], name))


def _has_ratings(loaded: Loaded) -> bool:
    rules = {name: weight.rule for name, weight in loaded.weights.actions.items()}
    return any(rules.get(name) == "rating" for name in loaded.shape.events)


def _users(loaded: Loaded) -> dict[str, int]:
    """Return how many users did each action."""
    pairs = np.unique(loaded.interactions.user * np.int64(len(loaded.action_names)) + loaded.action)
    counts = np.bincount(pairs % len(loaded.action_names), minlength=len(loaded.action_names))
    return dict(zip(loaded.action_names.tolist(), counts.tolist(), strict=True))


def _base(name: str, weights: ActionWeights) -> str:
    weight = weights.actions.get(name)
    return "0" if weight is None else f"{weight.base:g}"


def _of_ratings(weights: ActionWeights) -> str:
    scale = weights.rating_scale
    disliked = f", disliked up to {scale * weights.rating_dislike:g}" if weights.rating_dislike > 0 else ""
    return f"ratings up to {scale:g}: liked from {scale * weights.rating_threshold:g}{disliked}"
