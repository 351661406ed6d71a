"""Batch scoring: the served version's lists for many users, as a file."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.build.snapshot import write_snapshot
from features.contracts.columns import ITEM, RANK, SCORE, SOURCE, USER
from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.profiles import Options
from features.settings import Settings
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.result import Recommendations
from training.data import Interactions
from training.frames import load_interactions, read_frame
from training.judging import in_items_of
from training.lists import recommend_all
from training.steps.folders import fresh_folder

Indices = npt.NDArray[np.int32]

OUTPUT: Final = "recommendations.parquet"


def read_users(file: Path) -> list[str]:
    """Return distinct user ids, in the file's order: a parquet file's column `user_id`, or one id per line of text.

    Raises
    ------
    ContractError
        If the file holds none.
    """
    if file.suffix == ".parquet":
        frame = read_frame(file)
        if USER not in frame:
            raise ContractError(f"{file}: column {USER!r} is missing; found {list(frame.columns)}")
        ids = frame[USER].astype(str).tolist()
    else:
        ids = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    users = [user for user in dict.fromkeys(ids) if user]
    if not users:
        raise ContractError(f"{file}: holds no user ids; expected a column {USER!r}, or one id per line")
    return users


def open_served(settings: Settings, folder: Path) -> Bundle:
    """Return the bundle of the version that the alias points to, downloaded below a folder and verified.

    Raises
    ------
    ContractError
        If no version is served, or its files are not those that were registered.
    """
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    version = registry.by_alias(settings.model_alias)
    if version is None or version.digest is None:
        raise ContractError(
            f"model {settings.model_name!r}: alias {settings.model_alias!r} points to no version with a digest. "
            "`python -m training promote VERSION` sets it."
        )
    return open_bundle(registry.download(version.version, folder), version.digest)


def recommend_users(
    settings: Settings, users: list[str], k: int, *, as_of: datetime, work: Path, out: Path
) -> pd.DataFrame:
    """Return and write ranked rows (user_id, item_id, rank, score, source) of users, known or not, as of a time."""
    bundle = open_served(settings, work)
    as_of_us = int(as_of.timestamp() * 1_000_000)
    snapshot = fresh_folder(work / "snapshot")
    write_snapshot(settings, snapshot, as_of_us)
    loaded = load_interactions(snapshot / "interactions.parquet", bundle.parts.weights)
    history, wanted = _histories(loaded.interactions, bundle.items, users)
    moments = np.full(len(wanted), as_of_us, dtype=np.int64)
    found = recommend_all(bundle.recommender, history, wanted, moments, Options(k=k))
    frame = lists_frame(bundle, users, found)
    out.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(out / OUTPUT, index=False)
    return frame


def _histories(interactions: Interactions, items: IdMap, users: list[str]) -> tuple[Interactions, Indices]:
    """Return what a bundle can read of the interactions, and the users' indices; new users have an empty history."""
    everyone = IdMap(list(dict.fromkeys([*interactions.users.external(np.arange(len(interactions.users))), *users])))
    return in_items_of(replace(interactions, users=everyone), items), everyone.index(users)


def lists_frame(bundle: Bundle, users: list[str], found: Recommendations) -> pd.DataFrame:
    """Return ranked lists as rows, `rank` from 1."""
    flat = found.flat(bundle.source_names)
    return pd.DataFrame(
        {
            USER: [users[i] for i in flat.row.tolist()],
            ITEM: bundle.items.external(flat.item),
            RANK: flat.rank,
            SCORE: flat.score,
            SOURCE: flat.source,
        }
    )
