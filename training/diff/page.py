"""The page about two versions: what a person who has to choose one reads first stands first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from training.bundle.versions import TAG_GATE, TAG_RUN
from training.diff.judged import Compared, minute
from training.diff.plots import plot_agreement, plot_exposure, plot_shifts, plot_speed, plot_verdicts
from training.diff.result import Diff, Pair, Place
from training.diff.sides import Side
from training.plots import metric_title
from training.report import Beside, Grid, Picture, Ranked, Report, Section, Tile, in_words

Names = tuple[str, str]

_MOVERS: Final = 12
_FILES: Final = 8
_AGREE: Final = (
    "Overlap is the share of the first ten items that both lists of a user hold, in any order. Rank-biased overlap "
    "(persistence 0.9, twenty places) weighs the top most: 1 is the same list, 0 has nothing in common. Users are "
    "drawn evenly over the segments, so a mean over all of them is no mean over the population."
)
_JUDGED: Final = (
    "Same users, same liked items, nothing of it in the training data of either. The verdict is on the second version: "
    "they are not distinguishable where the 95 % interval of the paired difference holds 0."
)
_LEANING: Final = (
    "Novelty is the mean of -log2 of the share of users who had the item: higher is less known. Average popularity is "
    "that share itself. Gini says how unequally the places fall on the items: 0 is evenly. All of the first ten places."
)
_PAIRS: Final = (
    "Two users of each segment, drawn without looking at their lists, and without their ids: pages outlive erasures. "
    "Marked is what the other list lacks among its first ten."
)
_SPEED: Final = (
    "The recommender alone, one user at a time, features and ranker included, without network or database: the best of "
    "three. The two versions take turns, so that the machine's other work hits both alike."
)


def page_of(diff: Diff) -> Report:
    """Return what the page shows."""
    first, second = diff.sides
    return Report(
        title=f"Version {first.version.version} → version {second.version.version}",
        facts={"Users": f"{len(diff.sample)}, by a seed", "Data": diff.data, "Window of judging": diff.verdicts.window},
        metrics=(),
        ours="",
        sections=[
            _better(diff),
            _agreement(diff),
            _pairs(diff),
            _shown(diff),
            _categories(diff),
            _movers(diff),
            _cost(diff),
            _versions(diff),
        ],
        notes=[diff.verdicts.why_not] if diff.verdicts.why_not else (),
        tiles=_tiles(diff),
    )


def _tiles(diff: Diff) -> list[Tile]:
    every, leanings = diff.agreement[0], diff.exposure.leanings
    tiles = [Tile("shared of the first ten", f"{every.overlap.mean:.0%}", f"rank-biased {every.rank_biased.mean:.2f}")]
    if diff.verdicts.metrics:
        ndcg = diff.verdicts.metrics[0]
        note = f"{in_words(ndcg.difference, '+.4f')}, {ndcg.users} users"
        tiles.insert(0, Tile(f"{metric_title(ndcg.name)}: {diff.names[1]} is", ndcg.verdict, note))
    else:
        tiles.insert(0, Tile("which is better", "unknown", "no window that neither was fitted on"))
    coverage = [f"{one.coverage:.1%}" for one in leanings]
    tiles.append(Tile("catalogue in the first ten", " → ".join(coverage), f"{leanings[1].items:,} items now"))
    p50 = [f"{np.median(took):.1f}" for took in (diff.speed.first, diff.speed.second)]
    tiles.append(Tile("one list", " → ".join(p50) + " ms", "median, recommender alone"))
    tiles.append(Tile("on disk", " → ".join(_bytes(side.size) for side in diff.sides), "bundle"))
    return tiles


def _better(diff: Diff) -> Section:
    verdicts = diff.verdicts
    if verdicts.why_not:
        return Section("better", "Which is better?", [f"This cannot be told: {verdicts.why_not}"])
    segments = [one for parts in verdicts.segments.values() for one in parts]
    lost, won = ([one.name for one in segments if one.verdict == word] for word in ("worse", "better"))
    words = [_JUDGED, f"Window: {verdicts.window}, {verdicts.users:,} users."]
    words.append(f"Segments that win: {_listed(won)}. Segments that lose: {_listed(lost)}.")
    titled = [replace(one, name=metric_title(one.name)) for one in verdicts.metrics]
    picture = Picture("verdicts", "Green: better. Orange: worse.", plot_verdicts([*titled, *segments]))
    grids = [_compared_grid("metric", titled, diff.names)]
    grids += [_compared_grid(f"NDCG@10 by {name}", parts, diff.names) for name, parts in verdicts.segments.items()]
    return Section("better", "Which is better?", words, [picture], grids)


def _compared_grid(head: str, compared: Sequence[Compared], names: Names) -> Grid:
    rows = [
        [
            one.name,
            f"{one.users:,}",
            in_words(one.first),
            in_words(one.second),
            in_words(one.difference, "+.4f"),
            one.verdict,
        ]
        for one in compared
    ]
    return Grid([head, "users", *names, "difference", f"{names[1]} is"], rows)


def _agreement(diff: Diff) -> Section:
    rows = [
        [one.name, f"{one.users:,}", in_words(one.overlap, ".2f"), in_words(one.rank_biased, ".2f")]
        for one in diff.agreement
    ]
    picture = Picture(
        "agreement", "Far to the left: other lists than before.", plot_agreement(diff.overlaps, diff.agreement)
    )
    grid = Grid(["users", "count", "overlap@10", "rank-biased overlap"], rows)
    return Section("agreement", "How different are the lists?", [_AGREE], [picture], [grid])


def _pairs(diff: Diff) -> Section:
    beside = [_pair(pair, diff.names) for pair in diff.pairs]
    return Section("users", "Lists side by side", [_PAIRS], beside=beside)


def _pair(pair: Pair, names: Names) -> Beside:
    shared = "nothing to compare" if np.isnan(pair.overlap) else f"{pair.overlap:.0%} shared"
    history = Ranked("Latest items", [(title, "", False) for title in pair.history])
    lists = [Ranked(names[0], _ranked(pair.first, "")), Ranked(names[1], _ranked(pair.second, "was "))]
    return Beside(f"A user with {pair.events:,} events: {shared}", [history, *lists])


def _ranked(places: Sequence[Place], before: str) -> list[tuple[str, str, bool]]:
    shown = []
    for rank, place in enumerate(places, start=1):
        moved = before and place.other_rank is not None and place.other_rank != rank
        shown.append((place.title, f"{before}{place.other_rank}" if moved else "", place.other_rank is None))
    return shown


def _shown(diff: Diff) -> Section:
    first, second = diff.exposure.leanings
    rows = [
        ["coverage@10 of its catalogue", f"{first.coverage:.1%}", f"{second.coverage:.1%}"],
        ["items shown", f"{first.items:,}", f"{second.items:,}"],
        ["novelty@10", in_words(first.novelty, ".2f"), in_words(second.novelty, ".2f")],
        ["average popularity@10", in_words(first.popularity, ".3f"), in_words(second.popularity, ".3f")],
        ["Gini@10", f"{first.gini:.3f}", f"{second.gini:.3f}"],
        ["places for items nobody met", f"{first.unmet:.1%}", f"{second.unmet:.1%}"],
    ]
    grids = [Grid(["", *diff.names], rows), _source_grid(diff)]
    return Section("shown", "Coverage, novelty, popularity", [_LEANING], (), grids)


def _source_grid(diff: Diff) -> Grid:
    rows = [[one.name, f"{one.first:.1%}", f"{one.second:.1%}", f"{one.change:+.1%}"] for one in diff.exposure.sources]
    return Grid(["source of the places", *diff.names, "change"], rows)


def _categories(diff: Diff) -> Section:
    shifts = diff.exposure.categories
    if not shifts:
        return Section("categories", "Categories", ["No item that is shown has a category."])
    gained, lost = [one.name for one in shifts if not one.first], [one.name for one in shifts if not one.second]
    words = [f"Shown by the second version only: {_listed(gained)}. By the first only: {_listed(lost)}."]
    moved = [one for one in shifts if one.change]
    pictures = [Picture("categories", "The largest changes.", plot_shifts(moved, "Categories"))] if moved else []
    return Section("categories", "Categories gained and lost", words, pictures)


def _movers(diff: Diff) -> Section:
    items = diff.exposure.items
    up, down = [one for one in items if one.change > 0], [one for one in items if one.change < 0]
    grids = [
        Grid(
            [head, "lists before", "lists now", "change"],
            [[one.name, f"{one.first:.0f}", f"{one.second:.0f}", f"{one.change:+.0f}"] for one in moved[:_MOVERS]],
        )
        for head, moved in (("gained most", up), ("lost most", down))
        if moved
    ]
    picture = Picture("exposure", "On the dotted line: shown as often as before.", plot_exposure(diff.exposure))
    words = f"{len(up):,} items are shown more often, {len(down):,} less often, to the same {len(diff.sample):,} users."
    return Section("movers", "Biggest movers", [words], [picture], grids)


def _cost(diff: Diff) -> Section:
    both = (diff.speed.first, diff.speed.second)
    rows = [[f"p{share}", *(f"{np.percentile(took, share):.2f} ms" for took in both)] for share in (50, 95, 99)]
    picture = Picture("speed", f"{len(both[0])} users.", plot_speed(diff.speed, diff.names))
    grids = [Grid(["one list", *diff.names], rows), _files(diff)]
    return Section("cost", "Latency and size", [_SPEED], [picture], grids)


def _files(diff: Diff) -> Grid:
    sizes = [{name: file.size for name, file in side.bundle.manifest.files.items()} for side in diff.sides]
    names = sorted({*sizes[0], *sizes[1]}, key=lambda name: -max(size.get(name, 0) for size in sizes))[:_FILES]
    rows = [["all files", *(_bytes(side.size) for side in diff.sides)]]
    rows += [[name, *(_bytes(size[name]) if name in size else "none" for size in sizes)] for name in names]
    return Grid(["on disk", *diff.names], rows)


def _versions(diff: Diff) -> Section:
    columns = [_facts(side) for side in diff.sides]
    rows = [[label, columns[0][label], columns[1][label]] for label in columns[0]]
    return Section("versions", "What they are", grids=[Grid(["", *diff.names], rows)])


def _facts(side: Side) -> dict[str, str]:
    manifest, tags = side.bundle.manifest, side.version.tags
    return {
        "run": tags.get(TAG_RUN, "unknown"),
        "gate": tags.get(TAG_GATE, "not asked"),
        "trained until": f"{minute(manifest.trained_until_us)} UTC",
        "learned from": f"{manifest.n_interactions:,} interactions of {manifest.n_users:,} users",
        "items": f"{manifest.n_items:,}, {manifest.n_fresh:,} of them new",
        "order": manifest.plan.order_by,
        "factors": str(side.bundle.parts.fold_in.factors.shape[1]),
        "code": manifest.code_version,
        "digest": side.bundle.digest[:12],
    }


def _listed(names: Sequence[str], at_most: int = 12) -> str:
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return (", ".join(names[:at_most]) or "none") + more


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
