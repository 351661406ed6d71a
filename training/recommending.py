"""Batch scoring: the served version's lists for many users or all, as parts that a killed run leaves whole."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pandas as pd

from features.build.erased import erased_users
from features.build.shown import items_not_shown
from features.build.snapshot import write_snapshot
from features.contracts.batch import BatchDone, BatchRun, remember_folder
from features.contracts.columns import USER
from features.contracts.errors import ContractError
from features.contracts.lines import lines_of
from features.contracts.times import to_us, zulu
from features.db.connection import connect, database_errors
from features.db.gate import enter_gate
from features.db.queries import queries
from features.settings import Settings
from training.batch_folder import BatchError, BatchFolder
from training.batch_scoring import Population, Scorer, eligible_items
from training.bundle.bundle import Bundle
from training.bundle.read import open_bundle
from training.bundle.registry import Registry
from training.bundle.versions import RegisteredVersion
from training.cells import require, require_ids
from training.frames import read_frame
from training.progress import Progress, silent

SMALLEST_PART: Final = 500
LARGEST_PART: Final = 10_000
PARTS: Final = 64
"""A kill costs a part: users are divided into about so many, none smaller or larger than these."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What lists are wanted.

    Attributes
    ----------
    k
        Items in each.
    users
        Whose, in this order; None for everyone with an event.
    as_of
        The moment, aware UTC; None for now, or for that of the batch that is resumed.
    version
        Version of the model; None for the one that the alias points to.
    fresh_share, diversity
        As servers have them.
    part_users
        Users of each part; None lets their number decide.
    """

    k: int
    users: Sequence[str] | None = None
    as_of: datetime | None = None
    version: str | None = None
    fresh_share: float = 0.0
    diversity: float = 0.0
    part_users: int | None = None
    publish: bool = False

    @property
    def users_file(self) -> str | None:
        """Return the digest of the users asked for."""
        return None if self.users is None else hashlib.sha256("\n".join(self.users).encode()).hexdigest()


def read_users(file: Path) -> list[str]:
    """Return distinct user ids, in the file's order: a parquet file's column `user_id`, or a text's lines.

    Raises
    ------
    ContractError
        If the file holds none, something else than ids, or a text bytes that are no UTF-8.
    """
    frame = read_frame(file) if file.suffix == ".parquet" else pd.DataFrame({USER: _listed(file)}, dtype=object)
    require(frame, file, USER)
    require_ids(frame, file, USER)
    users = [user for user in dict.fromkeys(frame[USER].astype(str).tolist()) if user]
    if not users:
        raise ContractError(f"{file}: holds no user ids; expected a column {USER!r}, or one id per line")
    return users


def _listed(file: Path) -> list[str]:
    """Return a text's lines but empty ones; a heading, as tables have one when written as CSV, is nobody's id."""
    lines = [line for line in lines_of(file) if line]
    heading = lines[0].split(",") if lines else []
    if USER not in heading:
        return lines
    if len(heading) > 1:
        raise ContractError(
            f"{file}: line 1 is the heading of a table; write its column {USER!r} alone, an id per line"
        )
    return lines[1:]


def served_version(registry: Registry, alias: str, version: str | None = None) -> RegisteredVersion:
    """Return a version of the model, by default the one that the alias points to.

    Raises
    ------
    ContractError
        If there is none, or it has no digest.
    """
    found = registry.by_alias(alias) if version is None else registry.version(version)
    if found is None or found.digest is None:
        which = f"alias {alias!r} points to no version" if version is None else f"version {version} is one without"
        raise ContractError(
            f"model {registry.model_name!r}: {which} with a digest. `python -m training promote VERSION` sets it."
        )
    return found


def recommend_batch(
    settings: Settings,
    asked: Asked,
    folder: BatchFolder,
    *,
    now: datetime,
    threads: int = 1,
    progress: Progress = silent,
) -> BatchDone:
    """Return what a folder of finished lists holds; parts that are there already are kept.

    Raises
    ------
    BatchError
        If the folder holds lists that are made of something else, naming what differs and the way out.
    ErasureSecretError
        If users were erased, and not under the secret of the settings: who they are cannot be told.
    """
    registry = Registry(str(settings.mlflow_tracking_uri), settings.model_name)
    version = served_version(registry, settings.model_alias, asked.version)
    begun = folder.run()
    if begun is not None:
        refuse_other(folder, begun, asked, version)
        if (done := folder.done()) is not None:
            progress(f"{folder.path}: complete since {done.finished_at.isoformat()}, nothing to do")
            folder.tidy()
            return done
    _refuse_another_secret(settings)
    as_of = asked.as_of or (now if begun is None else begun.as_of)
    if begun is not None and (not folder.has_inputs or begun.by_id != (asked.users is None)):
        # An earlier version began it: its list of hidden items could be read in two ways, what retention had deleted
        # was not in it, or its parts moved with every user who was erased meanwhile.
        folder.clear()
        begun = None
    if begun is None:
        remember_folder(settings.work_dir, folder.path)
        progress("copying what is known from Postgres")
        snapshot = write_snapshot(settings, folder.fresh_inputs(), to_us(as_of), gone=True)
        refuse_nothing(snapshot.interactions, as_of, asked)
        folder.note_not_shown(items_not_shown(settings, as_of))
    with tempfile.TemporaryDirectory(prefix="marquee-recommend-") as downloaded:
        bundle = open_bundle(registry.download(version.version, Path(downloaded)), str(version.digest))
        population = Population.of(folder.inputs, bundle, asked.users)
        run = begun or _run(registry.model_name, version, asked, as_of, len(population.users))
        if begun is None:
            folder.begin(run)
        _score(folder, bundle, population, run, threads=threads, progress=progress)
    return _finish(settings, folder, run, progress)


def _refuse_another_secret(settings: Settings) -> None:
    """Raise before all lists are made, not after it, where nobody could tell who was erased."""
    with connect(settings, name="recommend") as connection, database_errors("asking who was erased"):
        erased_users(connection, settings.erasure_secret.get_secret_value().encode(), ())


def _finish(settings: Settings, folder: BatchFolder, run: BatchRun, progress: Progress) -> BatchDone:
    """Return what lists hold that are finished now: nobody's who was erased before, and later erasures find them.

    The parts are asked whose they are: of a batch that went on, they may hold users who are no more in what is scored.
    All is prepared outside the gate, which holds up erasures and landing.
    """
    secret = settings.erasure_secret.get_secret_value().encode()
    with connect(settings, name="recommend") as connection, database_errors("finishing lists"):
        while True:
            erased, newest = erased_users(connection, secret, folder.users(run))
            if erased:
                progress(f"{len(erased):,} of the users were erased: no lists of theirs are kept")
                folder.take_out(run, erased)
            done = folder.counted(run, datetime.now(UTC))
            with connection.transaction():
                enter_gate(connection)
                if queries.newest_erasure(connection) == newest:
                    folder.finish(done)
                    break
    folder.tidy()
    return done


def refuse_other(folder: BatchFolder, begun: BatchRun, asked: Asked, version: RegisteredVersion) -> None:
    """Raise where a folder's lists are made of something else than what is asked for now."""
    # What is to be announced and was not goes on, too.
    finished = folder.done() is not None and (folder.announced or not asked.publish)
    as_of = asked.as_of if finished else asked.as_of or begun.as_of  # what is not finished goes on at its own moment
    differing = []
    if begun.digest != version.digest:
        differing.append(f"of version {begun.version}, not {version.version}")
    if begun.as_of != as_of:
        differing.append(f"as of {begun.as_of.isoformat()}, not {as_of.isoformat() if as_of else 'now'}")
    differing += [
        f"{name} = {here}, not {there}"
        for name in ("k", "fresh_share", "diversity")
        if (here := getattr(begun, name)) != (there := getattr(asked, name))
    ]
    if begun.users_file != asked.users_file:
        differing.append(f"for {_whose(begun.users_file)}, not {_whose(asked.users_file)}")
    if differing:
        raise BatchError(
            f"{folder.path} holds lists of another batch ({'finished' if finished else 'begun'}): "
            f"{'; '.join(differing)}. Choose another folder, let --restart replace them, or ask for the same: "
            f"--version {begun.version} --as-of {begun.as_of.isoformat()} --k {begun.k}."
        )


def refuse_nothing(interactions: int, as_of: datetime, asked: Asked) -> None:
    """Raise where nothing was known before the moment of the lists: there would be none to copy."""
    if interactions:
        return
    if asked.as_of is None:
        raise ContractError(
            "Postgres holds no interactions yet, so that there is nobody to recommend to; land some first"
        )
    raise ContractError(
        f"--as-of {zulu(as_of)}: nothing was known before it, so that there is nobody to recommend to; choose a later "
        "moment, or leave the option away for now"
    )


def _whose(users_file: str | None) -> str:
    return "everyone" if users_file is None else f"those of a file ({users_file[:12]})"


def _run(model_id: str, version: RegisteredVersion, asked: Asked, as_of: datetime, users: int) -> BatchRun:
    part_users = asked.part_users or min(max(-(-users // PARTS), SMALLEST_PART), LARGEST_PART)
    return BatchRun(
        model_id=model_id,
        version=version.version,
        digest=str(version.digest),
        as_of=as_of,
        k=asked.k,
        fresh_share=asked.fresh_share,
        diversity=asked.diversity,
        users=users,
        users_file=asked.users_file,
        part_users=part_users,
        by_id=asked.users is None,
    )


def _score(
    folder: BatchFolder, bundle: Bundle, population: Population, run: BatchRun, *, threads: int, progress: Progress
) -> None:
    """Write the parts that are missing, and say how far it is."""
    missing = folder.missing(run)
    done = min((run.parts - len(missing)) * run.part_users, run.users)
    progress(f"{run.users:,} users, parts: {run.parts}, of which {run.parts - len(missing)} were finished before")
    if not missing:
        return
    eligible = eligible_items(bundle.items, folder.not_shown() or [])
    started, before = time.monotonic(), done
    with Scorer(bundle, population, run, eligible, threads) as scorer:
        for number in missing:
            folder.write_part(number, scorer.part(number))
            done = min(done + run.part_users, run.users)
            rate = (done - before) / max(time.monotonic() - started, 1e-9)
            left_s = (run.users - done) / rate
            progress(f"{done:,} of {run.users:,} users, {rate:,.0f} users/s, about {left_s:,.0f} s left")
