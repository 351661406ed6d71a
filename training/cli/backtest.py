"""``python -m training backtest``: what the lists would have been worth."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from training.backtest import Backtest, Cut, run_backtest, write_results
from training.config import TrainingConfig
from training.evaluate import SERVED
from training.frames import load_interactions
from training.impressions import list_cut, load_impressions, rerank, write_ranked

console = Console(stderr=True)


def backtest(
    *,
    interactions: Annotated[
        Path | None, typer.Option(help="Parquet: user_id, item_id, occurred_at, optional action and value.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for recommendations.parquet, metrics.json and the bundle.")],
    items: Annotated[Path | None, typer.Option(help="Parquet: item_id, optional title and categories.")] = None,
    impressions: Annotated[
        Path | None, typer.Option(help="Parquet: list_id, user_id, occurred_at, item_id, position, clicked.")
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(help="ISO 8601 time (UTC), or an integer where occurred_at is one.")
    ] = None,
    holdout: Annotated[float | None, typer.Option(help="Share of each user's rows, the latest, to hold out.")] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of each list.")] = 20,
    include_seen: Annotated[bool, typer.Option(help="Also recommend items that a user already had.")] = False,
    seed: Annotated[int, typer.Option(help="Of every generator: one seed, one result.")] = 0,
) -> None:
    """Train before a cut, recommend to everyone who came back after it, and measure. Needs no service."""
    if (cutoff is None) == (holdout is None):
        raise ContractError("backtest: give one of --cutoff TIME and --holdout SHARE, such as --holdout 0.2")
    if interactions is None and impressions is None:
        raise ContractError("backtest: give --interactions F.parquet, or --impressions F.parquet, or both")
    out.mkdir(parents=True, exist_ok=True)
    if (out / "bundle").exists():
        raise ContractError(f"backtest: {out} holds the bundle of another run; choose a new folder for --out")
    shown = None if impressions is None else load_impressions(impressions)
    loaded = load_interactions(interactions) if interactions is not None else shown.clicks()  # type: ignore[union-attr]
    cut = Cut(cutoff=_cutoff(cutoff, has_clock=loaded.interactions.has_clock), holdout=holdout)
    if shown is not None and interactions is None:
        cut = Cut(cutoff=list_cut(shown, cut))
    config = TrainingConfig(weights=loaded.weights, seed=seed)
    with console.status("backtest") as status:
        result = run_backtest(
            loaded,
            items,
            cut,
            config,
            folder=out,
            options=Options(k=k, include_seen=include_seen),
            progress=lambda what: _tell(status, what),
        )
        write_results(result, loaded, config, out)
        if shown is not None:
            write_ranked(rerank(shown, result.bundle, loaded.interactions, list_cut(shown, cut)), out)
    Console().print(_table(result))
    Console().print(
        f"{len(result.users)} users in {out / 'recommendations.parquet'}, figures in {out / 'metrics.json'}"
    )


def _tell(status: Status, what: str) -> None:
    """Show what is being done: as a spinner to a person, as lines to a log."""
    status.update(what)
    if not console.is_terminal:
        console.print(what)


def _cutoff(given: str | None, *, has_clock: bool) -> int | None:
    """Return the cut in the file's own times: microseconds since 1970 UTC, or its integer."""
    if given is None:
        return None
    try:
        if not has_clock:
            return int(given)
        at = datetime.fromisoformat(given)
    except ValueError:
        kind = "ISO 8601 time, such as 2011-09-20" if has_clock else "integer, as occurred_at holds integers"
        raise ContractError(f"--cutoff {given!r}: expected an {kind}") from None
    aware = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return round(aware.timestamp() * 1_000_000)


def _table(result: Backtest) -> Table:
    evaluation = result.evaluation
    table = Table(title=f"{evaluation.n_users} users with history and new known items; served by: {_order(result)}")
    for column in ("", "NDCG@10", "95 % interval", "recall@20", "hit rate@10", "coverage@10"):
        table.add_column(column, justify="left" if not column else "right")
    for method, found in evaluation.metrics().items():
        ndcg = found["ndcg@10"]
        table.add_row(
            f"[bold]{method}[/bold]" if method == SERVED else method,
            f"{ndcg.mean:.4f}",
            f"{ndcg.low:.4f} to {ndcg.high:.4f}",
            f"{found['recall@20'].mean:.4f}",
            f"{found['hit_rate@10'].mean:.4f}",
            f"{evaluation.coverage[method]:.3f}",
        )
    return table


def _order(result: Backtest) -> str:
    return result.bundle.manifest.plan.order_by
