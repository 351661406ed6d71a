"""Ports and secrets are made once, kept for their owner only, and found again."""

import json
import os
import stat
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ops.compose.__main__ import complete
from ops.local import up as up_module
from ops.local.errors import StackError
from ops.local.layout import ROOT, SOCKET_PATH_LIMIT, Layout, chosen_layout
from ops.local.ports import Ports
from ops.local.stack import API_WORKERS, Stack, open_stack, prepare_stack
from ops.local.state import Secrets, State, read_state, write_state
from ops.local.supervise import Supervisor


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_state_survives_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    state = State(Ports(api=7000), Secrets())
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    assert mode(tmp_path / "state.json") == 0o600
    assert read_state(tmp_path / "none.json") is None


def test_every_secret_is_random_and_none_shows_in_a_traceback() -> None:
    first, second = Secrets(), Secrets()
    shown = repr(first)
    for name, value in vars(first).items():
        assert value != getattr(second, name)
        assert name == "kafka_cluster_id" or value not in shown
    assert len(first.airflow_jwt) >= 64


def test_a_damaged_state_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(StackError, match=f"restore it, or stop what still runs and delete {tmp_path}"):
        read_state(tmp_path / "state.json")


def test_a_stack_keeps_ports_and_secrets_and_its_env_file_gives_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "run", tmp_path / "mlruns")
    made = prepare_stack(layout, {"MARQUEE_API_PORT": "7123"})
    assert prepare_stack(layout, {}) == made == open_stack(layout)
    lines = layout.env_file.read_text(encoding="utf-8").splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert exports == made.settings() == made.read_env_file()
    assert exports["MARQUEE_API_URL"] == "http://127.0.0.1:7123"
    assert mode(layout.env_file) == 0o600


def test_settings_that_the_stack_leaves_open_are_the_callers_also_in_its_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_RETENTION_DAYS", "30")
    monkeypatch.setenv("MARQUEE_DIVERSITY", "")  # as unset: empty is no number
    monkeypatch.setenv("MARQUEE_WORKERS", "")
    monkeypatch.setenv("MARQUEE_WORK_DIR", "/elsewhere")
    monkeypatch.setenv("MARQUEE_FAILPOINTS", "after_commit:exit")  # no setting
    layout = Layout(tmp_path / "run", tmp_path / "mlruns")

    given = prepare_stack(layout, {}).process_environment()

    assert given["MARQUEE_RETENTION_DAYS"] == "30"
    assert given["MARQUEE_WORKERS"] == API_WORKERS
    assert given["MARQUEE_WORK_DIR"] == str(layout.run_dir / "work")
    assert not {"MARQUEE_DIVERSITY", "MARQUEE_FAILPOINTS"} & set(given)
    assert "export MARQUEE_RETENTION_DAYS=30\n" in layout.env_file.read_text(encoding="utf-8")


def test_a_running_stack_refuses_other_settings_and_takes_those_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(tmp_path / "run", tmp_path / "mlruns")
    monkeypatch.setattr(Supervisor, "alive", lambda _: True)
    monkeypatch.setattr(up_module, "all_ready", lambda *_: True)
    monkeypatch.setenv("MARQUEE_GATE", "/a b/it's.yaml")
    started = prepare_stack(layout, {})

    def again() -> Stack:
        return up_module.up(layout, os.environ, Console(file=StringIO()))

    monkeypatch.setenv("MARQUEE_ADMIN_TOKEN", "of another stack")  # the stack's own, whatever a shell says
    assert again() == started
    monkeypatch.delenv("MARQUEE_GATE")
    assert again() == started
    monkeypatch.setenv("MARQUEE_RETENTION_DAYS", "30")
    with pytest.raises(StackError, match=r"started with another MARQUEE_RETENTION_DAYS: `make down`"):
        again()


def test_a_state_older_than_a_secret_gets_it_once_and_keeps_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "run", tmp_path / "mlruns")
    made = prepare_stack(layout, {})
    older = json.loads(layout.state_file.read_text(encoding="utf-8"))
    del older["secrets"]["erasure_secret"]
    layout.state_file.write_text(json.dumps(older), encoding="utf-8")

    mended = prepare_stack(layout, {})

    assert prepare_stack(layout, {}) == mended == open_stack(layout)
    assert mended.state.secrets.admin_token == made.state.secrets.admin_token


def test_an_env_file_of_compose_gets_the_secrets_that_it_lacks() -> None:
    text = "ADMIN_TOKEN=mine"
    whole = complete(text)
    assert whole.startswith("ADMIN_TOKEN=mine\n")
    assert "ERASURE_SECRET=" in whole
    assert complete(whole) == whole


@pytest.mark.parametrize("named", [None, "", ".run"])
def test_a_run_folder_that_is_unset_or_empty_is_the_default_and_never_the_checkout(
    monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    if named is None:
        monkeypatch.delenv("MARQUEE_RUN_DIR", raising=False)
    else:
        monkeypatch.setenv("MARQUEE_RUN_DIR", named)
    assert chosen_layout().run_dir == ROOT / ".run"


def test_a_stack_is_named_by_its_folder_and_never_like_another() -> None:
    assert Layout(ROOT / ".run").name == "run"
    elsewhere, other = Layout(Path("/a/.run")), Layout(Path("/b/.run"))
    assert elsewhere.name.startswith("run-")
    assert len({Layout(ROOT / ".run").name, elsewhere.name, other.name}) == 3


def test_the_supervisors_socket_fits_into_an_address_however_deep_the_folder() -> None:
    deep = Layout(Path("/" + "/".join(["folder"] * 40)))
    assert len(str(deep.supervisor_socket)) <= SOCKET_PATH_LIMIT
