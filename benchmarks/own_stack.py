"""The whole stack of `make up` for one benchmark: on free ports, in a folder of its own, gone afterwards."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ops.demo.airflow import Airflow
from ops.local.down import down
from ops.local.layout import Layout
from ops.local.ports import free_ports, variable
from ops.local.stack import Stack
from ops.local.up import up
from training.bundle.registry import Registry


@contextmanager
def own_stack() -> Iterator[Stack]:
    """Yield a running stack whose stores are empty."""
    folder = Path(tempfile.mkdtemp(prefix="marquee-stack-"))
    folder.chmod(0o711)  # Postgres runs as another account where we run as root
    layout = Layout(folder / "run", folder / "mlruns")
    ports = {variable(name): str(port) for name, port in vars(free_ports()).items()}
    try:
        yield up(layout, {**os.environ, **ports}, Console())
    finally:
        down(layout, Console())
        shutil.rmtree(folder, ignore_errors=True)


def airflow_of(stack: Stack) -> Airflow:
    """Return a client of the stack's Airflow that is logged in."""
    settings = stack.settings()
    return Airflow(*(settings[f"MARQUEE_AIRFLOW_{name}"] for name in ("URL", "USERNAME", "PASSWORD")))


def registry_of(stack: Stack) -> Registry:
    """Return the registry of the stack's MLflow."""
    settings = stack.settings()
    return Registry(settings["MARQUEE_MLFLOW_TRACKING_URI"], settings["MARQUEE_MODEL_NAME"])
