"""What the DAG folder holds, told by Airflow in a process of its own: its imports and warnings stay out of pytest."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dag_folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the description that `tests/support/airflow_dags.py` gives of the DAG folder."""
    home = tmp_path_factory.mktemp("airflow")
    result = home / "description.json"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "dags" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "MARQUEE_PYTHON": "/some/python",
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/airflow_dags.py"), str(result), "describe"],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    described: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return described
