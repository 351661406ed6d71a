"""What a backtest writes: lists, metrics, and per-user values by which two runs can be compared."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.ids import IdMap
from features.contracts.statistics import DAY_US
from features.text.svd import KIND
from training.backtest import Backtest
from training.catalogue_fit import Fit
from training.config import TrainingConfig
from training.data import SHORTEST_SPAN_US, VIRTUAL_SPAN_US
from training.evaluation.judged import Judged
from training.frames import Loaded
from training.json_text import json_text
from training.list_ranking import RankedLists
from training.rolling import Rolling

if TYPE_CHECKING:
    from training.tuning.tune import Tuned

LISTS: Final = "recommendations.parquet"
METRICS: Final = "metrics.json"
VALUES: Final = "values.parquet"
METHOD: Final = "method"
NO_CLOCK: Final = (
    "Of times only the order counts here: they are integers, or those before the cut span less than "
    f"{SHORTEST_SPAN_US // DAY_US} days. A day, as in recent popularity (1 day), is one of {VIRTUAL_SPAN_US // DAY_US} "
    "parts of the rows before the cut; hours and weekdays are unknown."
)
NOBODY: Final = "Nobody has both a history and a new liked item after the cut: nothing was measured."


@dataclass(frozen=True, eq=False)
class Beside:
    """What was asked for beside the backtest itself: earlier cuts, a search of settings, lists to re-rank.

    `text_encoder` is the kind of encoder by which texts were read; `warnings` are what readers have to know of files
    and options, `catalogue` is how the file of items fits, None without one.
    """

    rolling: Rolling | None = None
    search: "Tuned | None" = None
    ranked: RankedLists | None = None
    text_encoder: str = KIND
    warnings: tuple[str, ...] = ()
    catalogue: Fit | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of them; None for what was not asked for."""
        return {
            "rolling": None if self.rolling is None else self.rolling.to_json(),
            "tuning": None if self.search is None else self.search.to_json(),
            "ranked_lists": None if self.ranked is None else self.ranked.to_json(),
            "text_encoder": self.text_encoder,
            "catalogue": None if self.catalogue is None else self.catalogue.to_json(),
            "warnings": list(self.warnings),
        }


def recommendations_frame(result: Backtest, loaded: Loaded) -> pd.DataFrame:
    """Return the lists as rows (user_id, item_id, rank, score, source), ids in the types of the input.

    Items are text where the interactions hold integers and a catalogue names an item that is no such integer.
    """
    ids = ids_as(loaded.item_values.dtype, result.bundle.items.external(np.arange(len(result.bundle.items))))
    flat = result.lists.flat(result.bundle.source_names)
    return pd.DataFrame(
        {
            USER: loaded.user_values[result.users[flat.row]],
            ITEM: ids[flat.item],
            RANK: flat.rank,
            SCORE: flat.score,
            SOURCE: flat.source,
        }
    )


def ids_as(dtype: np.dtype[Any], ids: Sequence[str]) -> npt.NDArray[Any]:
    """Return ids in an integer type if each of them is written as such a number, else as text.

    >>> ids_as(np.dtype("int16"), ["7", "40"])
    array([ 7, 40], dtype=int16)
    >>> ids_as(np.dtype("int16"), ["7", "007"])
    array(['7', '007'], dtype=object)
    """
    names = np.array(ids, dtype=object)
    if not types.is_integer_dtype(dtype):
        return names
    try:
        numbers = names.astype(dtype)
    except (ValueError, OverflowError):
        return names
    return numbers if numbers.astype(str).tolist() == names.tolist() else names


def values_frame(result: Backtest, loaded: Loaded) -> pd.DataFrame:
    """Return every metric of each judged user and method, as rows (user_id, method, a column per metric)."""
    users = loaded.user_values[result.evaluation.judged.users]
    of_methods = result.evaluation.values  # noqa: PD011  # no frame
    parts = [pd.DataFrame({USER: users, METHOD: method} | found) for method, found in of_methods.items()]
    return pd.concat(parts, ignore_index=True)


def labels_digest(judged: Judged, items: IdMap) -> str:
    """Return SHA-256 over all judged users and their labels in external ids: equal where the same was asked."""
    lines = sorted(
        "\t".join([user, *sorted(items.external(labels))])
        for user, labels in zip(judged.history.users.external(judged.users), judged.labels, strict=True)
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def metrics_json(result: Backtest, loaded: Loaded, config: TrainingConfig, beside: Beside) -> dict[str, Any]:
    """Return everything that ``metrics.json`` holds."""
    manifest = result.bundle.manifest
    return {
        "data": {
            "interactions": len(loaded.interactions),
            "trained_on": manifest.n_interactions,
            "items_known": manifest.n_items,
            "users_with_later_activity": len(result.users),
            "has_clock": manifest.has_clock,
        },
        "evaluation": result.evaluation.to_json(),
        "labels_digest": labels_digest(result.evaluation.judged, result.bundle.items),
        "newcomers": result.newcomers.to_json(),
        "cold_items": None if result.cold_items is None else result.cold_items.to_json(),
        "validation_ndcg@10": result.ranker.validation,
        "new_items": None if result.fresh is None else result.fresh.to_json(),
        "order_by": manifest.plan.order_by,
        "cold_source": manifest.plan.cold_source,
        "ranker": {
            "chosen": result.ranker.chosen,
            "rows": result.ranker.n_rows,
            "groups": result.ranker.n_groups,
            "trees": result.ranker.ranker.n_trees,
        },
        **beside.to_json(),
        "parameters": config.parameters(),
        "bundle": result.bundle.digest,
        "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
    }


def write_results(result: Backtest, loaded: Loaded, config: TrainingConfig, folder: Path, beside: Beside) -> None:
    """Write lists, metrics and per-user values."""
    recommendations_frame(result, loaded).to_parquet(folder / LISTS, index=False)
    values_frame(result, loaded).to_parquet(folder / VALUES, index=False)
    content = json_text(metrics_json(result, loaded, config, beside))
    (folder / METRICS).write_text(content, encoding="utf-8")
