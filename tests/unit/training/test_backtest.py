"""The backtest command on made-up data: columns, counts and rules of its files."""

import html
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ops.setup.minilm import model_folder
from tests.support.commands import run_command
from tests.support.minilm import needs_minilm
from tests.support.processes import uncounted
from tests.support.synthetic import START_US, make_interactions
from training.backtest_results import NO_CLOCK, NOBODY, ids_as
from training.bundle.sources import POPULAR_PLANS
from training.cli.app import main
from training.comparing import NotComparableError, compare_runs, read_run
from training.ranker import NOTHING, UNLEARNED

N_USERS = 40


def frame_of(n_users: int) -> pd.DataFrame:
    """Return interactions with sixty items, integer users and text items."""
    made = make_interactions(5, n_users=n_users, n_items=60, per_user=15)
    return pd.DataFrame(
        {
            "user_id": made.user.astype(np.int64),
            "item_id": made.items.external(made.item),
            "occurred_at": pd.to_datetime(made.at_us, unit="us"),
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with interactions (integer users, text items), items and lists."""
    folder = tmp_path_factory.mktemp("data")
    frame = frame_of(N_USERS)
    frame.sample(frac=1, random_state=0).to_parquet(folder / "interactions.parquet")
    names = [f"i{number}" for number in range(60)]
    pd.DataFrame({"item_id": names, "title": names, "categories": [f"g{n % 4}" for n in range(60)]}).to_parquet(
        folder / "items.parquet"
    )
    rng = np.random.default_rng(0)
    lists = pd.DataFrame(
        [
            {"list_id": f"l{n}", "user_id": n % N_USERS, "item_id": f"i{item}", "position": position}
            | {"occurred_at": frame.occurred_at.min() + pd.Timedelta(hours=8 * n), "clicked": item % 4 == n % 4}
            for n in range(100)
            for position, item in enumerate([*rng.choice(60, 7, replace=False), 999], start=1)
        ]
    )
    lists.to_parquet(folder / "impressions.parquet")
    return folder


OF_CATEGORIES = ("items of the same categories", "trend in liked categories")


def backtest(*options: str) -> subprocess.CompletedProcess[str]:
    return run_command("training", "backtest", *options, environment=uncounted())


def test_files_of_a_holdout(data: Path, tmp_path: Path) -> None:
    files = ("--interactions", str(data / "interactions.parquet"), "--items", str(data / "items.parquet"))
    run = backtest(*files, "--holdout", "0.2", "--k", "10", "--out", str(tmp_path / "one"))
    assert run.returncode == 0, run.stderr
    assert "weights: view 1\n" in run.stdout
    assert f"catalogue: {data / 'items.parquet'} knows 60 of the 60 items that were met (100.0%)\n" in run.stdout
    assert "(the first 10 places of each; metrics are of all 20)\n" in run.stdout
    assert "order chosen on validation" in run.stderr
    assert "order chosen on validation" not in run.stdout, "logs are no results"
    lists = pd.read_parquet(tmp_path / "one" / "recommendations.parquet")
    assert lists.columns.tolist() == ["user_id", "item_id", "rank", "score", "source"]
    assert lists.user_id.dtype == np.int64
    history = pd.read_parquet(data / "interactions.parquet").sort_values("occurred_at", kind="stable")
    place, size = history.groupby("user_id").cumcount(), history.groupby("user_id").item_id.transform("size")
    history = history[place < np.ceil(0.8 * size)]
    assert set(lists.user_id) == set(range(N_USERS))
    assert (lists.groupby("user_id")["rank"].apply(list) == [list(range(1, 11))] * N_USERS).all()
    assert lists.groupby("user_id").item_id.nunique().eq(10).all()
    assert lists.groupby("user_id").score.apply(lambda scores: scores.is_monotonic_decreasing).all()
    had = set(zip(history.user_id, history.item_id, strict=True))
    assert not had & set(zip(lists.user_id, lists.item_id, strict=True))
    assert set(lists.item_id) <= set(history.item_id)
    metrics = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert metrics["data"]["trained_on"] == len(history)
    assert set(metrics["evaluation"]["methods"]) > {"marquee", "popularity", "ALS", *OF_CATEGORIES}
    assert metrics["newcomers"]["stages"] == []
    assert {"importance", "reliability", "segments", "sources"} <= set(metrics["evaluation"])
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert all(
        f'id="{name}"' in page for name in ("methods", "serves", "sources", "history", "tail", "newcomers", "examples")
    )
    assert "over min(20, labels)" in page
    assert "before each user&#39;s latest rows, 20% of them" in page
    assert '<th scope="col">first 20</th>' in page
    assert "recall@50" not in page, "a share of all labels is not what recall is above"
    assert (tmp_path / "one" / "source-recall.png").exists()
    again = backtest(*files, "--holdout", "0.2", "--k", "10", "--out", str(tmp_path / "two"))
    assert again.returncode == 0, again.stderr
    pd.testing.assert_frame_equal(lists, pd.read_parquet(tmp_path / "two" / "recommendations.parquet"))
    same = compare_runs(read_run(tmp_path / "one"), read_run(tmp_path / "two"))
    assert {(entry.difference.mean, entry.verdict) for entry in same} == {(0.0, "not distinguishable")}


@pytest.mark.parametrize("odd", ["abc", "40000", "007", "1.0", ""])
def test_ids_are_integers_only_where_each_of_them_is_one(odd: str) -> None:
    numbers = ids_as(np.dtype("int16"), ["3", "-1"])
    assert numbers.dtype == np.int16
    assert numbers.tolist() == [3, -1]
    assert ids_as(np.dtype("int16"), ["3", odd]).tolist() == ["3", odd]
    assert ids_as(np.dtype(object), ["3", "4"]).tolist() == ["3", "4"]


def test_files_of_a_cutoff_with_lists(data: Path, tmp_path: Path) -> None:
    cutoff = str(pd.to_datetime(START_US, unit="us") + pd.Timedelta(days=30))
    run = backtest(
        *("--interactions", str(data / "interactions.parquet"), "--impressions", str(data / "impressions.parquet")),
        *("--cutoff", cutoff, "--include-seen", "--out", str(tmp_path / "out")),
        *("--rolling", "2", "--without", "trend_14d"),
    )
    assert run.returncode == 0, run.stderr
    interactions = pd.read_parquet(data / "interactions.parquet")
    later = interactions[interactions.occurred_at >= cutoff]
    lists = pd.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert set(lists.user_id) == set(later.user_id)
    assert lists.groupby("user_id").size().eq(20).all()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["parameters"]["without"] == ["trend_14d"]
    assert not {*OF_CATEGORIES} & set(metrics["evaluation"]["methods"])  # without a catalogue they offer nothing
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in page for name in ("rolling", "lists"))
    assert f"<td>at {pd.Timestamp(cutoff).isoformat()}Z</td>" in page
    assert "Labels are all known items, those that the user had before too, that a user liked later." in page
    assert "with history, and who liked known items later" in page
    assert "users with history and known items" in " ".join(run.stdout.split())
    assert metrics["evaluation"]["sources"]["trend_14d"]["budget"] == 0
    windows = metrics["rolling"]["windows"]
    assert windows[0]["end"] == windows[1]["cutoff"]
    assert "--rolling 2: NDCG@10 " in run.stdout
    means = [window["methods"]["marquee"]["ndcg@10"]["mean"] for window in windows]
    assert metrics["rolling"]["mean"]["marquee"]["ndcg@10"]["mean"] == pytest.approx(np.mean(means))
    shown = pd.read_parquet(data / "impressions.parquet")
    shown = shown[shown.occurred_at >= cutoff]
    ranked = pd.read_parquet(tmp_path / "out" / "ranked_lists.parquet")
    assert ranked.columns.tolist() == ["list_id", "user_id", "item_id", "rank", "score"]
    columns = ["list_id", "user_id", "item_id"]
    assert set(map(tuple, ranked[columns].to_numpy())) == set(map(tuple, shown[columns].to_numpy()))
    assert (ranked[ranked.item_id == "i999"]["rank"] == 8).all()


def test_lists_alone_teach_by_their_clicks(data: Path, tmp_path: Path) -> None:
    lists = ("--impressions", str(data / "impressions.parquet"))
    run = backtest(*lists, "--holdout", "0.2", "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    assert pd.read_parquet(tmp_path / "out" / "ranked_lists.parquet").list_id.nunique() == 20


def test_lists_that_nobody_clicked_are_ranked_and_nothing_is_measured(data: Path, tmp_path: Path) -> None:
    lists = pd.read_parquet(data / "impressions.parquet")
    last = lists.occurred_at >= lists.drop_duplicates("list_id").occurred_at.sort_values().iloc[80]
    lists.assign(clicked=lists.clicked & ~last).to_parquet(tmp_path / "lists.parquet")
    files = ("--impressions", str(tmp_path / "lists.parquet"))
    run = backtest(*files, "--holdout", "0.2", "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    assert NOBODY in " ".join(run.stdout.split())
    assert "NDCG@10 of those with a click: none" in run.stdout
    assert set(pd.read_parquet(tmp_path / "out" / "ranked_lists.parquet").list_id) == set(lists.list_id[last])
    assert NOBODY in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_share_held_out_of_lists_cuts_the_interactions_at_the_same_time(data: Path, tmp_path: Path) -> None:
    files = ("--interactions", str(data / "interactions.parquet"), "--impressions", str(data / "impressions.parquet"))
    run = backtest(*files, "--holdout", "0.2", "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    lists = pd.read_parquet(data / "impressions.parquet").drop_duplicates("list_id").sort_values("occurred_at")
    cut, rows = lists.occurred_at.iloc[80], pd.read_parquet(data / "interactions.parquet")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["data"]["trained_on"] == (rows.occurred_at < cut).sum()
    assert metrics["ranked_lists"]["lists"] == 20
    recommended = pd.read_parquet(tmp_path / "out" / "recommendations.parquet")
    assert set(recommended.user_id) == set(rows.user_id[rows.occurred_at >= cut])


def test_new_items_come_only_when_asked_for_and_are_judged_among_themselves(data: Path, tmp_path: Path) -> None:
    rows = frame_of(200).sort_values("occurred_at", kind="stable")
    cut = rows.occurred_at.iloc[int(0.8 * len(rows))]
    new = {f"i{number}" for number in range(48, 60)}
    rows[(rows.occurred_at >= cut) | ~rows.item_id.isin(new)].to_parquet(tmp_path / "rows.parquet")
    items = pd.read_parquet(data / "items.parquet")
    items["text"] = [f"{['rose', 'garden', 'sail', 'bread'][n % 4]} number {n}" for n in range(60)]
    items.to_parquet(tmp_path / "items.parquet")
    files = ("--interactions", str(tmp_path / "rows.parquet"), "--items", str(tmp_path / "items.parquet"))
    asked = (*files, "--cutoff", cut.isoformat(), "--k", "20")
    found = {}
    for name, more in (("plain", ()), ("new", ("--new-items",))):
        run = backtest(*asked, *more, "--out", str(tmp_path / name))
        assert run.returncode == 0, run.stderr
        lists = pd.read_parquet(tmp_path / name / "recommendations.parquet")
        assert lists.groupby("user_id").item_id.nunique().eq(20).all()
        found[name] = set(lists.item_id) & new
    assert not found["plain"]
    assert len(found["new"]) > 3
    said = "on the validation slice NDCG@10 of lists was"
    assert said in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert said not in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    assert "Without <code>--new-items</code>" in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    assert "Without <code>" not in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    cold = json.loads((tmp_path / "new" / "metrics.json").read_text())["cold_items"]
    assert cold["items"] == len(new)
    assert [stage["events"] for stage in cold["stages"]] == [0, 1, 2, 5, None]
    taste = {method: values["ndcg@10"]["mean"] for method, values in cold["stages"][-1]["methods"].items()}
    assert taste["marquee"] > taste["at random"]
    assert taste["text map to factors"] > taste["newest"]
    page = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "New items" in page
    assert "48 items; 12 more of the catalogue alone" in page
    unseen = [json.loads((tmp_path / name / "metrics.json").read_text())["newcomers"]["unseen_items"] for name in found]
    assert unseen[0] == unseen[1]
    assert unseen[0]["items"] == len(new)


def test_a_run_that_can_judge_nobody_says_so_everywhere(tmp_path: Path) -> None:
    rows = frame_of(N_USERS)
    strangers = rows.assign(user_id=rows.user_id + 1_000, occurred_at=rows.occurred_at + pd.Timedelta(days=60))
    pd.concat([rows, strangers]).to_parquet(tmp_path / "rows.parquet")
    pd.DataFrame({"item_id": ["sku-1", "sku-2"], "title": ["A", "B"]}).to_parquet(tmp_path / "items.parquet")
    files = ("--interactions", str(tmp_path / "rows.parquet"), "--items", str(tmp_path / "items.parquet"))
    out = tmp_path / "out"

    cut = ("--cutoff", str(rows.occurred_at.max() + pd.Timedelta(days=1)))
    run = backtest(*files, *cut, "--without", "content", "--without", "repeat", "--out", str(out))

    assert run.returncode == 0, run.stderr
    assert "nothing was measured" in " ".join(run.stdout.split())
    assert "nan" not in run.stdout
    odd = "items.parquet: none of its 2 ids, such as 'sku-1', occurs in"
    assert odd in run.stderr
    page = (out / "report.html").read_text(encoding="utf-8")
    assert odd in html.unescape(page)
    assert 'id="methods"' not in page
    assert ">nan" not in page
    assert "--without content changes nothing: without --new-items that source is off anyway." in run.stderr
    assert "--without repeat changes nothing: without --include-seen that source is off anyway." in run.stderr
    metrics = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert [odd in warning for warning in metrics["warnings"]] == [False, False, True]
    assert metrics["catalogue"] == {"items": 2, "met": 60, "known": 0}
    assert metrics["evaluation"]["methods"]["marquee"]["ndcg@10"] == {"mean": None, "low": None, "high": None}
    with pytest.raises(NotComparableError, match="nothing was measured"):
        read_run(out)


@pytest.mark.parametrize(
    ("users", "items", "cut"),
    [
        (list("aabbc"), list("xyxzy"), ("--cutoff", "2026-01-04")),
        (["a"] * 5, ["x"] * 5, ("--holdout", "0.2")),
        (["a"] * 20, [f"i{number}" for number in range(20)], ("--holdout", "0.2")),
    ],
    ids=["five rows", "one user and one item", "one user"],
)
def test_too_little_to_learn_an_order_from_is_served_by_the_blend_and_said_everywhere(
    tmp_path: Path, users: list[str], items: list[str], cut: tuple[str, str]
) -> None:
    times = pd.date_range("2026-01-01", periods=len(users), freq="D")
    rows = pd.DataFrame({"user_id": users, "item_id": items, "occurred_at": times})
    rows.to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "out"
    run = backtest("--interactions", str(tmp_path / "rows.parquet"), *cut, "--include-seen", "--out", str(out))
    assert run.returncode == 0, run.stderr
    assert f"warning: {UNLEARNED}\n" in run.stderr
    page = html.unescape((out / "report.html").read_text(encoding="utf-8"))
    assert UNLEARNED in page
    assert "clearly led the ranker" not in page
    metrics = json.loads((out / "metrics.json").read_text())
    few_days = len(times) < 7
    assert [NO_CLOCK in told for told in (page, run.stdout)] == [few_days, few_days]
    assert metrics["data"]["has_clock"] is not few_days
    assert metrics["warnings"] == [UNLEARNED]
    assert (metrics["order_by"], metrics["cold_source"]) == ("blend", "popular")
    assert (metrics["ranker"]["chosen"], metrics["ranker"]["trees"]) == (NOTHING, 0)
    lists = pd.read_parquet(out / "recommendations.parquet")
    assert set(lists.item_id) <= set(items)
    assert set(lists.user_id) == set(users[-1] if len(set(users)) == 1 else "bc")


@needs_minilm
def test_texts_are_read_by_a_language_model_if_asked(data: Path, tmp_path: Path) -> None:
    items = pd.read_parquet(data / "items.parquet")
    items["text"] = [f"{['a rose', 'a ship', 'a loaf', 'a planet'][n % 4]} {n}" for n in range(60)]
    items.to_parquet(tmp_path / "items.parquet")
    files = ("--interactions", str(data / "interactions.parquet"), "--items", str(tmp_path / "items.parquet"))
    run = backtest(*files, "--holdout", "0.2", "--minilm", str(model_folder()), "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stderr
    assert "texts: 0 of 60 read" in run.stderr
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["text_encoder"] == "minilm"
    assert np.load(tmp_path / "out" / "bundle" / "content_vectors.npy").shape == (60, 384)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--holdout", "0.2"), "give --interactions F.parquet"),
        (("--interactions", "{data}"), "give one of --cutoff TIME and --holdout SHARE"),
        (("--interactions", "{data}", "--holdout", "2"), "holdout share 2.0: expected a number between 0 and 1"),
        (("--interactions", "{data}", "--cutoff", "soon"), "--cutoff 'soon': expected an ISO 8601 time"),
        (("--interactions", "{data}", "--cutoff", "1999-01-01"), "choose a cut inside the data"),
        (("--interactions", "{data}", "--holdout", "0.2", "--rolling", "3"), "--rolling steps back from a time"),
        (("--interactions", "{data}", "--holdout", "0.2", "--without", "luck"), "--without luck: no such source"),
        (
            ("--interactions", "{data}", "--holdout", "0.2", *(f"--without={name}" for name in POPULAR_PLANS)),
            "--without trend_60d: new users get nothing but popular, trend_1d, trend_14d, trend_60d; keep one of these",
        ),
        (
            ("--interactions", "{odd}", "--holdout", "0.2"),
            "{odd}: column action holds only 'wach', which weigh nothing",
        ),
        (("--interactions", "no.parquet", "--holdout", "0.2"), "no.parquet: no such file"),
        (("--interactions", "{data}", "--holdout", "0.2", "--items", "no.parquet"), "no.parquet: no such file"),
        (("--interactions", "{data}", "--cutoff", "9999-12-31T23:59:59-23:00"), "choose a cut inside the data"),
        (("--interactions", "{data}", "--cutoff", "0001-01-01T00:00:00+05:00"), "choose a cut inside the data"),
        (("--interactions", "{counted}", "--cutoff", "9" * 30), "choose a cut inside the data"),
        (("--interactions", "{data}", "--holdout", "0.2", "--seed", "-1"), "should be greater than or equal to 0"),
        (("--interactions", "{data}", "--holdout", "0.2", "--items", "{broken}"), "item_id is empty in 1 rows"),
        (
            ("--interactions", "{counted}", "--impressions", "{lists}", "--cutoff", "9"),
            "occurred_at holds times in {lists} and integers that only order in {counted}: no cut means the same",
        ),
        (
            ("--interactions", "{data}", "--impressions", "{lists}", "--cutoff", "{late}"),
            "{lists}: no list at or after the cutoff",
        ),
        (("--interactions", "{data}", "--holdout", "0.2", "--new-items"), "give --items F.parquet too"),
        (("--interactions", "{data}", "--holdout", "0.2", "--minilm", "{folder}"), "give --items F.parquet too"),
        (
            ("--interactions", "{data}", "--items", "{items}", "--holdout", "0.2", "--minilm", "{folder}"),
            "has no model.onnx; name the folder that `make minilm` says",
        ),
    ],
)
def test_wrong_options_are_named(
    data: Path,
    options: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = pd.read_parquet(data / "interactions.parquet")
    rows.assign(occurred_at=range(len(rows))).to_parquet(data / "counted.parquet")
    rows.assign(action="wach").to_parquet(data / "odd.parquet")
    pd.DataFrame({"item_id": ["i1", None]}).to_parquet(data / "broken.parquet")
    files = {name: data / f"{name}.parquet" for name in ("items", "counted", "broken", "odd")}
    files |= {"data": data / "interactions.parquet", "lists": data / "impressions.parquet", "folder": data}
    late = rows.occurred_at.max()
    asked = [option.format(**files, late=late) for option in options]
    monkeypatch.setattr(sys, "argv", ["training", "backtest", *asked, "--out", str(data / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message.format(**files) in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("below", [(), ("deeper",)])
def test_a_file_where_the_folder_is_to_be_is_named(
    data: Path, below: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.joinpath("items.parquet", *below)
    given = ["--interactions", str(data / "interactions.parquet"), "--holdout", "0.2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["training", "backtest", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"--out {out}: " in capsys.readouterr().err
