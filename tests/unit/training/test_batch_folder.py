"""What a folder of lists lets be written into it, and what of an interrupted batch it keeps."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from features.contracts.batch import LISTS, RUN, SUCCESS, BatchRun, part_name
from features.contracts.errors import ContractError
from features.contracts.ids import IdMap
from features.contracts.times import zulu
from tests.support.synthetic import trained
from tests.support.tiny_bundle import CLOSED_AT_US, write_tiny_bundle
from training.batch_folder import BatchError, BatchFolder
from training.batch_scoring import SCHEMA, Population, Scorer, eligible_items
from training.bundle.read import open_bundle
from training.bundle.versions import RegisteredVersion
from training.cli import recommending
from training.cli.app import app
from training.recommending import Asked, read_users, refuse_nothing, refuse_other

AS_OF = datetime.fromtimestamp(CLOSED_AT_US / 1e6, UTC) + timedelta(days=1)
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
VERSION = RegisteredVersion("3", "d1", "run")


def run_of(users: int = 5, part_users: int = 2) -> BatchRun:
    return BatchRun(
        model_id="m",
        version="3",
        digest="d1",
        as_of=AS_OF,
        k=4,
        fresh_share=0.0,
        diversity=0.0,
        users=users,
        users_file=None,
        part_users=part_users,
    )


def none_gone(n_users: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    return np.zeros(n_users + 1, np.int64), np.empty(0, np.int32)


def test_a_moment_before_which_nothing_was_known_is_named() -> None:
    refuse_nothing(1, AS_OF, Asked(k=4, as_of=AS_OF))
    with pytest.raises(ContractError, match=f"--as-of {zulu(AS_OF)}: nothing was known before it.* choose a later"):
        refuse_nothing(0, AS_OF, Asked(k=4, as_of=AS_OF))
    with pytest.raises(ContractError, match="Postgres holds no interactions yet"):
        refuse_nothing(0, AS_OF, Asked(k=4))


def test_parts_that_are_missing_are_named_and_success_comes_last(tmp_path: Path) -> None:
    folder, run = BatchFolder(tmp_path / "out"), run_of()
    with folder.locked():
        folder.fresh_inputs()
        folder.begin(run)
        assert folder.run() == run
        assert folder.missing(run) == [0, 1, 2]
        folder.write_part(1, SCHEMA.empty_table())
        assert BatchFolder(tmp_path / "out").missing(run) == [0, 2]
        for number in (0, 2):
            folder.write_part(number, SCHEMA.empty_table())
        assert folder.done() is None
        done = folder.counted(run, AS_OF)
        folder.finish(done)
        folder.tidy()
    assert folder.done() == done
    assert (done.rows, done.lists, done.parts) == (0, 0, 3)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted([".lock", LISTS, RUN, SUCCESS])


def test_only_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with BatchFolder(tmp_path).locked(), pytest.raises(BatchError, match="another process"):  # noqa: SIM117  # in turn
        with BatchFolder(tmp_path).locked():
            pass


def test_a_file_of_that_name_and_a_broken_record_are_refused(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{}")
    with pytest.raises(BatchError, match="--restart"):
        BatchFolder(tmp_path).run()
    (tmp_path / LISTS).write_text("rows")
    with pytest.raises(BatchError, match="is a file"), BatchFolder(tmp_path).locked():
        pass


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(k=5), "k = 4, not 5"),
        (Asked(k=4, diversity=0.2), "diversity = 0.0, not 0.2"),
        (Asked(k=4, as_of=AS_OF + timedelta(hours=1)), "as of"),
        (Asked(k=4, users=["u1"]), "for everyone, not those of a file"),
    ],
)
def test_what_would_mix_is_refused_with_the_way_out(tmp_path: Path, asked: Asked, words: str) -> None:
    folder = BatchFolder(tmp_path)
    folder.begin(run_of())
    with pytest.raises(BatchError, match=words) as refused:
        refuse_other(folder, run_of(), asked, VERSION)
    assert f"--version 3 --as-of {AS_OF.isoformat()} --k 4" in str(refused.value)


def test_what_is_begun_goes_on_at_its_own_moment_with_its_own_bundle(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    folder.begin(run_of())
    refuse_other(folder, run_of(), Asked(k=4), VERSION)
    refuse_other(folder, run_of(), Asked(k=4, as_of=AS_OF), VERSION)
    with pytest.raises(BatchError, match="of version 3, not 4"):
        refuse_other(folder, run_of(), Asked(k=4), RegisteredVersion("4", "d2", "run"))
    folder.fresh_inputs()
    for number in range(3):
        folder.write_part(number, SCHEMA.empty_table())
    folder.finish(folder.counted(run_of(), AS_OF))
    with pytest.raises(BatchError, match=r"finished.*not now"):
        refuse_other(folder, run_of(), Asked(k=4), VERSION)
    refuse_other(folder, run_of(), Asked(k=4, publish=True), VERSION)  # killed before all of them were announced
    folder.note_announced()
    with pytest.raises(BatchError, match=r"finished.*not now"):
        refuse_other(folder, run_of(), Asked(k=4, publish=True), VERSION)
    folder.clear()
    assert not folder.announced


def test_ids_of_lists_follow_from_what_they_are_made_of() -> None:
    first, again = run_of(), run_of(users=9)
    assert first.recommendation_id("u1") == again.recommendation_id("u1") != first.recommendation_id("u2")


def test_lists_do_not_depend_on_parts_or_threads(tmp_path: Path) -> None:
    digest = write_tiny_bundle(tmp_path / "bundle", n_items=80)
    bundle = open_bundle(tmp_path / "bundle", digest)
    history = trained()[0]
    users = [f"u{number}" for number in range(60)]
    population = Population(users, np.arange(60, dtype=np.int32), history, none_gone(60))
    eligible = eligible_items(bundle.items, ["i1", "unknown", ""])
    tables = []
    as_of = datetime.fromtimestamp((int(history.at_us[-1]) + history.bucket_us) / 1e6, UTC)
    for part_users, threads in ((60, 1), (7, 2)):
        run = BatchRun("m", "1", digest, as_of, 5, 0.0, 0.0, 60, None, part_users)
        with Scorer(bundle, population, run, eligible, threads) as scorer:
            tables.append([scorer.part(number) for number in range(run.parts)])
        pq.write_table(tables[-1][0], tmp_path / part_name(0))
    rows = [[row for table in of_run for row in table.to_pylist()] for of_run in tables]
    assert rows[0] == rows[1]
    assert [row["user_id"] for row in rows[0]] == [user for user in users for _ in range(5)]
    assert "i1" not in {row["item_id"] for row in rows[0]}


@pytest.mark.parametrize("by_id", [False, True])
def test_every_user_lies_in_one_part_and_where_ids_decide_nobody_moves_when_another_is_gone(*, by_id: bool) -> None:
    users = [f"u{number}" for number in range(100)]
    run = msgspec.structs.replace(run_of(users=100, part_users=7), by_id=by_id)

    def cut(left: list[str]) -> list[list[str]]:
        population = Population(left, np.zeros(len(left), np.int32), trained()[0], none_gone(60))
        return [[left[place] for place in places] for places in population.cut(run)]

    whole = cut(users)
    assert len(whole) == run.parts
    assert sorted(user for part in whole for user in part) == sorted(users)
    if by_id:
        assert cut(users[1:]) == [[user for user in part if user != users[0]] for part in whole]
    else:
        assert whole[0] == users[:7]


@given(hidden=st.sets(IDS, max_size=5), shown=st.sets(IDS, min_size=1, max_size=5))
@example(hidden={"a\nb", "c\rd", "\u2028"}, shown={"a", "b", "c", "d"})
def test_items_that_may_not_be_shown_are_those_whatever_characters_their_ids_hold(
    tmp_path_factory: pytest.TempPathFactory, hidden: set[str], shown: set[str]
) -> None:
    folder = BatchFolder(tmp_path_factory.mktemp("out"))
    assert folder.not_shown() is None
    folder.fresh_inputs()
    folder.note_not_shown(sorted(hidden))
    items = IdMap(sorted(hidden | shown))
    eligible = eligible_items(items, folder.not_shown() or [])
    assert set(items.external(np.flatnonzero(eligible))) == shown - hidden


def test_a_list_of_users_ends_an_id_only_where_its_line_ends(tmp_path: Path) -> None:
    listed = tmp_path / "users.txt"
    listed.write_bytes("u1\r\n a\u2028b \n\nc\x85d\nu1".encode())
    assert read_users(listed) == ["u1", " a\u2028b ", "c\x85d"]


def test_the_heading_of_a_table_is_nobodys_id(tmp_path: Path) -> None:
    (file := tmp_path / "users.csv").write_text("user_id\nu1\nu2\n", encoding="utf-8")
    assert read_users(file) == ["u1", "u2"]
    file.write_text("user_id,plan\nu1,free\n", encoding="utf-8")
    with pytest.raises(ContractError, match="line 1 is the heading of a table"):
        read_users(file)


def test_a_line_that_is_longer_than_any_id_is_refused(tmp_path: Path) -> None:
    (file := tmp_path / "users.txt").write_text(f"u1\n{'x' * 257}\n", encoding="utf-8")
    with pytest.raises(ContractError, match="an id of 257 characters in row 1"):
        read_users(file)


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([1, 2, None], "column user_id is empty in 1 rows"),
        ([1.0, 2.5], "user_id"),
        (["a", None], "column user_id is empty"),
    ],
)
def test_a_column_of_users_holds_ids_and_nothing_else(tmp_path: Path, ids: list[object], told: str) -> None:
    file = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": ids}).to_parquet(file)
    with pytest.raises(ContractError, match=told):
        read_users(file)


def test_a_list_of_users_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (listed := tmp_path / "users.txt").write_bytes(b"u1\nJos\xe9\n")
    with pytest.raises(ContractError, match=r"users.txt: byte 6 is no UTF-8"):
        read_users(listed)
    with pytest.raises(ContractError, match="cannot be read: No such file"):
        read_users(tmp_path / "none.txt")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    settings = SimpleNamespace(log_format="console", fresh_share=0.0, diversity=0.0)
    monkeypatch.setattr(recommending, "load_settings", lambda: settings)
    monkeypatch.setattr(recommending, "configure_logging", lambda _: None)  # it would hold the runner's stderr for ever
    with pytest.raises(ContractError, match=r"--out .*file/x: Not a directory; name a folder"):
        CliRunner().invoke(app, ["recommend", "--out", str(tmp_path / "file" / "x")], catch_exceptions=False)
