"""A bundle as an MLflow pyfunc model (models from code): the same recommender behind MLflow's own interface.

Our servers never load this; it is for those who come from MLflow: notebooks, batch jobs, ``mlflow models predict``.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mlflow.models
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.errors import ContractError
from features.contracts.profiles import Options, UserHistory
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle

HISTORY: Final = "history"
K: Final = "k"
AS_OF: Final = "as_of"

DEFAULT_K: Final = 20
_STEP_US: Final = 60_000_000
"""Between two events of a history that tells no times: a minute."""


class RecommenderModel(PythonModel):
    """Ranked items for each row's user.

    Input columns: ``user_id``; ``history``, newest first: a list (or its JSON text) of item ids, or of objects with
    ``item_id`` and optional ``action``, ``value``, ``occurred_at``; optional ``k``; optional ``as_of`` (ISO 8601, UTC
    where it names no zone; default: the edge of the bundle's own item statistics).
    Output columns: ``user_id``, ``item_id``, ``rank`` (from 1), ``score``, ``source``.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Open the bundle, verified against the digest that was recorded when it was logged."""
        self.bundle = open_bundle(Path(context.artifacts["bundle"]), context.model_config["digest"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return up to k rows per input row, in the order of the input."""
        del context, params
        return recommend_rows(
            self.bundle, [{str(name): value for name, value in row.items()} for row in model_input.to_dict("records")]
        )


def recommend_rows(bundle: Bundle, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return ranked items for request rows; columns as in `RecommenderModel`."""
    as_of = np.array([_instant(row.get(AS_OF), bundle.statistics.closed_at_us) for row in rows], dtype=np.int64)
    histories = [_history(row, int(at)) for row, at in zip(rows, as_of, strict=True)]
    wanted = np.array([_k(row.get(K)) for row in rows], dtype=np.int64)
    if not rows:
        return pd.DataFrame({USER: [], ITEM: [], RANK: [], SCORE: [], SOURCE: []})
    found = bundle.recommend(bundle.encode(histories), bundle.statistics, as_of, Options(k=int(wanted.max())))
    flat = found.flat(bundle.source_names)
    asked = flat.rank <= wanted[flat.row]
    return pd.DataFrame(
        {
            USER: [histories[i].user_id for i in flat.row[asked].tolist()],
            ITEM: bundle.items.external(flat.item[asked]),
            RANK: flat.rank[asked].astype(np.int64),
            SCORE: flat.score[asked].astype(np.float64),
            SOURCE: flat.source[asked],
        }
    )


def _history(row: Mapping[str, Any], as_of_us: int) -> UserHistory:
    """Return a request row's history; an event without a time stands a minute before the one above it."""
    given = row.get(HISTORY)
    entries = json.loads(given) if isinstance(given, str) else ([] if given is None else list(given))
    events = [entry if isinstance(entry, Mapping) else {ITEM: entry} for entry in entries]
    items = [str(event[ITEM]) for event in events]
    return UserHistory(
        user_id=str(row[USER]),
        event_ids=[str(position) for position in range(len(events))],
        item_ids=items,
        actions=[str(event.get("action", "view")) for event in events],
        values=[float(value) if (value := event.get("value")) is not None else float("nan") for event in events],
        at_us=[
            min(_instant(event.get("occurred_at"), as_of_us - (position + 1) * _STEP_US), as_of_us - 1)
            for position, event in enumerate(events)
        ],
        seen_item_ids=items,
    )


def _k(given: Any) -> int:
    if given is None or pd.isna(given):
        return DEFAULT_K
    if int(given) < 1:
        raise ContractError(f"k = {given!r}; expected a whole number of items from 1")
    return int(given)


def _instant(given: Any, default_us: int) -> int:
    """Return microseconds since 1970 UTC of an ISO 8601 text or a timestamp; the default where there is none."""
    if given is None or pd.isna(given):
        return default_us
    at = datetime.fromisoformat(given) if isinstance(given, str) else pd.Timestamp(given).to_pydatetime()
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return int(aware.timestamp()) * 1_000_000 + aware.microsecond


mlflow.models.set_model(RecommenderModel())
