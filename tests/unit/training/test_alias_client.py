"""Moving aliases without MLflow's own client: where that can be done, and that commands in a hurry do it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import uncounted
from training.bundle.alias_client import speaks_plainly
from training.bundle.versions import refusal

ROOT = Path(__file__).resolve().parents[3]
LOGINS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH")


def test_only_an_mlflow_over_http_without_a_login_is_asked_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGINS:
        monkeypatch.delenv(name, raising=False)
    assert speaks_plainly("http://127.0.0.1:5000")
    assert speaks_plainly("https://mlflow")
    assert not speaks_plainly("sqlite:///mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    assert not speaks_plainly("http://127.0.0.1:5000")


def test_a_rollback_imports_neither_mlflow_nor_what_computes() -> None:
    away = {
        **{name: text for name, text in uncounted().items() if name not in LOGINS},
        "MARQUEE_MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MARQUEE_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    }
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "training", "rollback"],
        cwd=ROOT,
        env=away,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "error: model 'marquee' in MLflow at http://127.0.0.1:9: no usable answer" in done.stderr
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "requests" in imported
    assert not imported & {"mlflow", "pandas", "numpy", "lightgbm", "faiss", "sklearn"}


def test_an_error_holds_no_login() -> None:
    at = "http://ana:secret@mlflow:5000"
    for code in (None, "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
        told = str(refusal(f"model 'm' in MLflow at {at}", code, f"API request to {at}/api/2.0 failed"))
        assert "secret" not in told
        assert told.count("http://mlflow:5000") == 2
