"""What ``python -m training backtest`` does: checks its options, runs, writes, prints the table."""

import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from features.cli.plain import plain_console
from features.contracts.columns import OCCURRED_AT
from features.contracts.errors import ContractError
from features.contracts.profiles import Options
from features.contracts.times import to_us
from features.contracts.weights_file import load_weights
from features.log import configure_logging
from features.text import minilm, svd
from features.text.documents import Document
from training.backtest import Backtest, Cut, run_backtest
from training.backtest_report import backtest_report
from training.backtest_results import LISTS, NO_CLOCK, NOBODY, Beside, write_results
from training.bundle.sources import BY_TEXT, POPULAR_PLANS, REPEAT, SOURCES
from training.catalogue_fit import Fit, fit_of, without_texts
from training.cli.backtest_tuning import check_tuning, tuned
from training.cli.output import make_folder
from training.cli.weights_run import said_of
from training.config import TrainingConfig
from training.evaluation.methods import SERVED, K, title_of
from training.frames import Loaded, load_interactions, load_titles
from training.impressions import Shown, list_cut, load_impressions, logged, ranked_frame, write_ranked
from training.list_ranking import ListSource, rank_lists
from training.progress import Progress
from training.ranker import UNLEARNED
from training.report import REPORT, write_report
from training.report_sections import ranked_methods
from training.rolling import Rolling, Window, earlier_cuts, run_earlier, window_of
from training.texts import FitEncoder

if TYPE_CHECKING:
    from training.tuning.tune import Tuned

console = Console(stderr=True)

_COUNT: Final = re.compile(r"\b\d+ of \d+ users")
_COUNTS_EVERY_S: Final = 5.0
_OFF_ANYWAY: Final = "--without {} changes nothing: without {} that source is off anyway."


@dataclass(frozen=True, slots=True)
class BacktestOptions:
    """The options of the command, as a person gave them."""

    out: Path
    interactions: Path | None = None
    items: Path | None = None
    impressions: Path | None = None
    cutoff: str | None = None
    holdout: float | None = None
    k: int = 20
    new_items: bool = False
    include_seen: bool = False
    seed: int = 0
    without: tuple[str, ...] = ()
    rolling: int = 1
    tune: int = 0
    tune_minutes: float | None = None
    weights: Path | None = None
    minilm: Path | None = None

    @property
    def data(self) -> Path:
        """Return the file that tells what users did: one is given, as `_check` makes sure."""
        return cast("Path", self.interactions or self.impressions)

    @property
    def fit_encoder(self) -> FitEncoder:
        """Return how texts of the catalogue are read."""
        return svd.fit_svd if self.minilm is None else partial(minilm.fit_minilm, self.minilm)


def execute(asked: BacktestOptions) -> None:
    """Run a backtest and leave its files in the folder asked for.

    Raises
    ------
    ContractError
        If options contradict each other or a file breaks its contract.
    """
    _check(asked)
    make_folder(asked.out, "--out")
    said = load_weights(asked.weights)  # it and all files before anything that takes long
    shown = None if asked.impressions is None else load_impressions(asked.impressions)
    loaded = _interactions(asked, shown)
    catalogue = _catalogue(asked, loaded)
    warnings = _warnings(asked, loaded, catalogue)
    cut = Cut(cutoff=_cutoff(asked.cutoff, has_clock=loaded.interactions.has_clock), holdout=asked.holdout)
    lists_from = None if shown is None else list_cut(shown, cut)
    if lists_from is not None:  # a share of each user's rows reaches beyond the time from which lists are re-ranked
        cut = Cut(cutoff=lists_from, may_be_last=asked.interactions is None)
    loaded = loaded.weighed_by(cut.split(loaded.interactions).history, said)
    loaded.require_weights(asked.data)
    config = _config(asked, loaded)
    options = Options(k=asked.k, include_seen=asked.include_seen)
    configure_logging()  # standard output is for what was found
    with console.status("backtest") as status:
        tell = _teller(status)
        search = _tuned(asked, loaded, cut, config, tell)
        config = config if search is None else search.config
        windows = _earlier_windows(asked, loaded, cut, config, tell)
        result = run_backtest(
            loaded,
            asked.items,
            cut,
            config,
            folder=asked.out,
            options=options,
            fit_encoder=asked.fit_encoder,
            progress=tell,
        )
        rolling = _rolling(windows, loaded, cut, result) if windows else None
        ranked = None
        if shown is not None and lists_from is not None:
            source = ListSource(
                logged(shown), loaded.interactions, asked.items, result.bundle, config, below_clicks=said.below_clicks
            )
            ranked = rank_lists(source, lists_from, tell)
            write_ranked(ranked_frame(shown, source.lists, ranked), asked.out)
        warnings += () if result.ranker.learned else _warned(UNLEARNED)
        encoder = svd.KIND if asked.minilm is None else minilm.KIND
        beside = Beside(rolling, search, ranked, encoder, warnings, catalogue)
        write_results(result, loaded, config, asked.out, beside)
        tell("report")
        write_report(backtest_report(result, loaded, config, load_titles(asked.items), beside), asked.out)
    _print(asked, loaded, result, beside)


def _print(asked: BacktestOptions, loaded: Loaded, result: Backtest, beside: Beside) -> None:
    """Print what was found, as a person looks for it: the table, then lines."""
    shown = plain_console(160)
    if beside.search is not None:
        shown.print(beside.search.verdict.reason)
    shown.print(_table(result) if result.evaluation.n_users else NOBODY)
    lines = [
        said_of(loaded),
        f"lists of {len(result.users)} users: {asked.out / LISTS}{_cut_off(asked.k)}",
        f"report: {asked.out / REPORT}",
    ]
    if beside.catalogue is not None:
        lines.insert(0, beside.catalogue.line)
    if beside.ranked is not None:
        lines.insert(0, f"logged lists: {beside.ranked.line()}")
    if beside.rolling is not None:
        lines.insert(0, f"--rolling {asked.rolling}: {beside.rolling.line}")
    if not result.bundle.manifest.has_clock:
        lines.insert(0, NO_CLOCK)
    for line in lines:
        shown.print(line, soft_wrap=True)


def _cut_off(k: int) -> str:
    """Return that lists are written shorter than judged, where they are."""
    return f" (the first {k} places of each; metrics are of all {K})" if k < K else ""


def _check(asked: BacktestOptions) -> None:
    if (asked.cutoff is None) == (asked.holdout is None):
        raise ContractError("backtest: give one of --cutoff TIME and --holdout SHARE, such as --holdout 0.2")
    if asked.rolling > 1 and asked.cutoff is None:
        raise ContractError("backtest: --rolling steps back from a time; give it with --cutoff TIME")
    check_tuning(asked.tune, asked.tune_minutes, rolling=asked.rolling, interactions=asked.interactions)
    if asked.interactions is None and asked.impressions is None:
        raise ContractError("backtest: give --interactions F.parquet, or --impressions F.parquet, or both")
    if asked.new_items and asked.items is None:
        raise ContractError("backtest: --new-items recommends what only a catalogue names; give --items F.parquet too")
    if asked.minilm is not None:
        if asked.items is None:
            raise ContractError("backtest: --minilm reads the texts of a catalogue; give --items F.parquet too")
        asked.fit_encoder([Document("")])  # what is missing is named before anything that takes long
    if (asked.out / "bundle").exists():
        raise ContractError(f"backtest: {asked.out} holds the bundle of another run; choose a new folder for --out")


def _config(asked: BacktestOptions, loaded: Loaded) -> TrainingConfig:
    config = TrainingConfig(weights=loaded.weights, seed=asked.seed)
    unknown = [name for name in asked.without if name not in SOURCES]
    if unknown:
        raise ContractError(f"--without {unknown[0]}: no such source; there are {', '.join(SOURCES)}")
    if set(POPULAR_PLANS) <= set(asked.without):
        raise ContractError(
            f"--without {' --without '.join(asked.without)}: new users get nothing but {', '.join(POPULAR_PLANS)}; "
            "keep one of these"
        )
    return replace(config, without=asked.without, exclude_seen=not asked.include_seen, new_items=asked.new_items)


def _tuned(asked: BacktestOptions, loaded: Loaded, cut: Cut, config: TrainingConfig, tell: Progress) -> "Tuned | None":
    if not asked.tune:
        return None
    return tuned(
        loaded,
        asked.items,
        cut,
        config,
        trials=asked.tune,
        minutes=asked.tune_minutes,
        out=asked.out,
        fit_encoder=asked.fit_encoder,
        progress=tell,
    )


def _earlier_windows(
    asked: BacktestOptions, loaded: Loaded, cut: Cut, config: TrainingConfig, tell: Progress
) -> list[Window]:
    if asked.rolling == 1 or cut.cutoff is None:
        return []
    cuts = earlier_cuts(loaded.interactions, cut.cutoff, asked.rolling)
    options = Options(include_seen=asked.include_seen)
    said = load_weights(asked.weights)
    return run_earlier(
        loaded, asked.items, cuts, config, options=options, fit_encoder=asked.fit_encoder, said=said, progress=tell
    )


def _rolling(windows: list[Window], loaded: Loaded, cut: Cut, result: Backtest) -> Rolling:
    end = int(loaded.interactions.at_us[-1]) + 1
    last = window_of(loaded.interactions, cut.cutoff or 0, end, result.evaluation.values)  # no frame
    return Rolling((*windows, last), result.evaluation.seed)


def _interactions(asked: BacktestOptions, shown: Shown | None) -> Loaded:
    if asked.interactions is not None:
        loaded = load_interactions(asked.interactions)
        _refuse_two_clocks(asked, shown, loaded)
        return loaded
    if shown is None:
        raise ContractError("backtest: no interactions and no lists to take clicks from")
    return shown.clicks()


def _refuse_two_clocks(asked: BacktestOptions, shown: Shown | None, loaded: Loaded) -> None:
    if shown is None or shown.has_clock == loaded.interactions.has_clock:
        return
    kinds = {True: "times", False: "integers that only order"}
    raise ContractError(
        f"backtest: {OCCURRED_AT} holds {kinds[shown.has_clock]} in {asked.impressions} and "
        f"{kinds[loaded.interactions.has_clock]} in {asked.interactions}: no cut means the same in both; write both "
        "as times, or both as integers of one count"
    )


def _catalogue(asked: BacktestOptions, loaded: Loaded) -> Fit | None:
    """Return how the items file fits the interactions, None without one; a broken one is refused."""
    return None if asked.items is None else fit_of(asked.items, asked.data, loaded.interactions)


def _warnings(asked: BacktestOptions, loaded: Loaded, catalogue: Fit | None) -> tuple[str, ...]:
    """Return, and print, what is odd about the files and options that were given."""
    found = [_OFF_ANYWAY.format(name, option) for name, option in _turned_on(asked).items() if name in asked.without]
    if catalogue is not None:
        found += [catalogue.warning or ""]
        found += [without_texts(catalogue.path, loaded.interactions) or ""] if asked.new_items else []
    return _warned(*filter(None, found))


def _warned(*warnings: str) -> tuple[str, ...]:
    """Return warnings, and print them beside the results."""
    for warning in warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)
    return warnings


def _turned_on(asked: BacktestOptions) -> dict[str, str]:
    """Return the option that turns a source on, of those that are off for the want of it."""
    repeat = {} if asked.include_seen else {REPEAT: "--include-seen"}
    return repeat if asked.new_items else repeat | dict.fromkeys(BY_TEXT, "--new-items")


def _teller(status: Status) -> Progress:
    """Return what shows progress: as a spinner to a person, as lines to a log, there counts every few seconds only."""
    counted_at = 0.0

    def tell(what: str) -> None:
        nonlocal counted_at
        status.update(what)
        if console.is_terminal or (_COUNT.search(what) and time.monotonic() - counted_at < _COUNTS_EVERY_S):
            return
        counted_at = time.monotonic()
        console.print(what)

    return tell


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
    return to_us(at.replace(tzinfo=UTC) if at.tzinfo is None else at)


def _table(result: Backtest) -> Table:
    evaluation = result.evaluation
    whom = f"{evaluation.n_users} users with history and {evaluation.judged.wanted}"
    table = Table(title=f"{whom}; served by: {_order(result)}")
    for column in ("", "NDCG@10", "95 % interval", "recall@20", "hit rate@10", "coverage@10"):
        table.add_column(column, justify="left" if not column else "right")
    metrics = evaluation.metrics
    for method in ranked_methods(evaluation):
        found = metrics[method]
        ndcg = found["ndcg@10"]
        table.add_row(
            Text(method, "bold" if method == SERVED else ""),
            f"{ndcg.mean:.4f}",
            f"{ndcg.low:.4f} to {ndcg.high:.4f}",
            f"{found['recall@20'].mean:.4f}",
            f"{found['hit_rate@10'].mean:.4f}",
            f"{evaluation.coverage[method]:.3f}",
        )
    return table


def _order(result: Backtest) -> str:
    return title_of(result.bundle.manifest.plan.order_by)
