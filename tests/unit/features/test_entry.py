"""How a command ends: what is wrong with a disk is one line, what is wrong with the code stays visible."""

import errno
import os

import pytest
import typer

from features.cli.entry import run


def failing(error: Exception) -> typer.Typer:
    """Return an app whose command meets with an error."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def command() -> None:
        raise error

    return app


@pytest.fixture(autouse=True)
def _no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["command"])


@pytest.mark.parametrize(("file", "place"), [(None, ""), ("/out/x.png", "/out/x.png: ")])
def test_a_full_disk_is_one_line(file: str | None, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = os.strerror(errno.ENOSPC)
    with pytest.raises(SystemExit) as ended:
        run(failing(OSError(errno.ENOSPC, text, file)))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {place}{text}; what was being written is not whole")


def test_other_errors_of_the_system_keep_their_stack() -> None:
    with pytest.raises(OSError, match="Input/output"):
        run(failing(OSError(errno.EIO, os.strerror(errno.EIO))))
