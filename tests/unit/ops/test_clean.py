"""Cleaning removes a stack's own folder, and no other."""

import os
import socket
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ops.local import clean as cleaning
from ops.local.clean import clean
from ops.local.errors import StackError
from ops.local.layout import ROOT, Layout
from ops.local.ports import free_ports
from ops.local.stack import prepare_stack
from ops.local.state import Secrets, State, read_state, write_state

QUIET = Console(file=StringIO())


def started(folder: Path) -> Layout:
    """Return the layout of a stack that was started in a folder, and runs no more."""
    layout = Layout(folder, folder.parent / "artifacts")
    layout.artifacts.mkdir(parents=True)
    write_state(layout.state_file, State(free_ports(), Secrets()))
    return layout


def test_a_stack_is_removed_with_its_artifacts_and_once_more_is_no_error(tmp_path: Path) -> None:
    layout = started(tmp_path / "run")
    clean(layout, QUIET)
    assert not layout.run_dir.exists()
    assert not layout.artifacts.exists()
    clean(layout, QUIET)


def test_a_stack_whose_port_somebody_else_took_meanwhile_is_down_and_can_be_removed(tmp_path: Path) -> None:
    layout, told = started(tmp_path / "run"), StringIO()
    state = read_state(layout.state_file)
    assert state is not None
    with socket.create_server(("127.0.0.1", state.ports.api)):
        clean(layout, Console(file=told, width=1_000))
    assert f"port {state.ports.api} is held by process {os.getpid()} " in told.getvalue()
    assert not layout.run_dir.exists()


def test_a_folder_in_which_no_stack_was_started_stays(tmp_path: Path) -> None:
    (folder := tmp_path / "photos").mkdir()
    (folder / "one.jpg").touch()
    with pytest.raises(StackError, match=r"photos is not removed.* state\.json.* by hand"):
        clean(Layout(folder, tmp_path / "artifacts"), QUIET)
    assert [path.name for path in folder.iterdir()] == ["one.jpg"]


def test_no_stack_is_started_among_other_things_which_cleaning_would_remove(tmp_path: Path) -> None:
    (folder := tmp_path / "home").mkdir()
    layout = Layout(folder, tmp_path / "artifacts")
    (folder / "lock").touch()
    (photo := folder / "one.jpg").touch()
    with pytest.raises(StackError, match=r"no stack is started in .*home: it holds 'one\.jpg'.* an empty folder"):
        prepare_stack(layout, {})
    assert not layout.state_file.exists()
    photo.unlink()
    prepare_stack(layout, {})
    photo.touch()
    prepare_stack(layout, {})


@pytest.mark.parametrize("folder", ["docs", "."])
def test_no_stack_is_started_among_the_files_of_the_checkout(tmp_path: Path, folder: str) -> None:
    with pytest.raises(StackError, match="no stack is started in"):
        prepare_stack(Layout(ROOT / folder, tmp_path / "artifacts"), {})


@pytest.mark.parametrize("inside", [".", "main", "main/deeper"])
def test_the_checkout_and_what_it_lies_in_stay_even_where_a_stack_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    layout = started(tmp_path / "work")
    monkeypatch.setattr(cleaning, "ROOT", layout.run_dir / inside)
    with pytest.raises(StackError, match="holds this checkout and is not removed"):
        clean(layout, QUIET)
    assert layout.state_file.exists()
