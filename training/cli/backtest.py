"""``python -m training backtest``: what the lists would have been worth."""

from pathlib import Path
from typing import Annotated

import typer

from training.cli.output import LARGEST_SEED


def backtest(
    *,
    interactions: Annotated[
        Path | None, typer.Option(help="Parquet: user_id, item_id, occurred_at, optional action and value.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="Parquet: item_id, optional title, text, author, categories, published_at.")
    ] = None,
    impressions: Annotated[
        Path | None, typer.Option(help="Parquet: list_id, user_id, occurred_at, item_id, position, clicked.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="YAML of action weights; without it they follow the data.", envvar="MARQUEE_ACTION_WEIGHTS"),
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(help="ISO 8601 time (UTC), or an integer where occurred_at is one.")
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Share of each user's rows, the latest, to hold out; with --impressions of the lists, by time."
        ),
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of each list.")] = 20,
    out: Annotated[
        Path, typer.Option(help="Folder for recommendations.parquet, metrics.json, report.html and the bundle.")
    ],
    without: Annotated[
        list[str] | None, typer.Option(help="Switch a candidate source off (repeatable): what is it worth?")
    ] = None,
    rolling: Annotated[
        int, typer.Option(min=1, help="Cuts in all, stepped back evenly from --cutoff; each is a training of its own.")
    ] = 1,
    new_items: Annotated[
        bool,
        typer.Option(
            "--new-items",
            help="Also recommend items of --items that nobody had before the cut; published_at says which came lately.",
        ),
    ] = False,
    minilm: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Read texts by a language model, from the folder of `make minilm`."
        ),
    ] = None,
    include_seen: Annotated[bool, typer.Option(help="Also recommend items that a user already had.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of every generator: one seed, one result.")] = 0,
    tune: Annotated[
        int, typer.Option(min=0, help="Trials of a search of better settings before the cut; 0 = the defaults.")
    ] = 0,
    tune_minutes: Annotated[
        float | None, typer.Option(min=0, help="No trial begins later; the result is then not reproducible.")
    ] = None,
) -> None:
    """Train before a cut, recommend to everyone who came back after it, and measure. Needs no service."""
    from training.cli.backtest_run import BacktestOptions, execute  # noqa: PLC0415  # LightGBM and FAISS load slowly

    execute(
        BacktestOptions(
            out,
            interactions,
            items,
            impressions,
            cutoff,
            holdout,
            k,
            new_items=new_items,
            include_seen=include_seen,
            seed=seed,
            without=tuple(without or ()),
            rolling=rolling,
            tune=tune,
            tune_minutes=tune_minutes,
            weights=weights,
            minilm=minilm,
        )
    )
