"""Commands of `ops` know `--help`, refuse what they do not know, and do nothing then."""

import sys
from pathlib import Path

import pytest

from ops.compose import __main__ as compose
from ops.demo import __main__ as demo
from ops.setup import __main__ as setup
from ops.setup import system


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--bogus"], 2), (["more"], 2)])
def test_compose_writes_no_secrets_for_words_that_it_does_not_know(
    tmp_path: Path,
    arguments: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compose, "ENV_FILE", tmp_path / ".env")
    with pytest.raises(SystemExit) as ended:
        compose.main(arguments)
    assert ended.value.code == code
    assert "usage: python -m ops.compose" in "".join(capsys.readouterr())
    assert not (tmp_path / ".env").exists()
    assert compose.main([]) == 0
    assert (tmp_path / ".env").exists()


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--bogus"], 2), (["locks"], 2)])
def test_setup_does_nothing_for_words_that_it_does_not_know(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system, "install_system_needs", lambda: pytest.fail("the setup ran"))
    with pytest.raises(SystemExit) as ended:
        setup.main(arguments)
    assert ended.value.code == code
    assert "usage: python -m ops.setup" in "".join(capsys.readouterr())


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--bogus"], 2), (["more"], 2)])
def test_the_demo_does_nothing_for_words_that_it_does_not_know(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "up", lambda *_: pytest.fail("the demo ran"))
    monkeypatch.setattr(sys, "argv", ["ops.demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == code
