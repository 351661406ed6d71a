"""Real services for benchmarks, thrown away afterwards, and the project's own commands run against them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr

from features.settings import Settings
from ops.local.databases import create_databases
from ops.local.direct import running
from ops.local.layout import Layout
from ops.local.ports import LOOPBACK, free_ports
from ops.local.processes import end, stack_processes
from ops.local.services import kafka, mlflow, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State

SECRET = "of-a-benchmark"  # noqa: S105  # guards nothing


@contextmanager
def services(*, broker: bool = True, registry: bool = False) -> Iterator[Settings]:
    """Yield settings of a real Postgres, migrated, and, if wanted, a real Kafka with all topics and a real MLflow."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # Postgres runs as another account where we run as root
        stack = Stack(Layout(folder / "run", folder / "mlruns"), State(free_ports(), Secrets()))
        stack.layout.run_dir.mkdir()
        wanted = {kafka.service: broker, mlflow.service: registry}
        try:
            with running(postgres.service(stack), stack), ExitStack() as others:
                create_databases(stack)
                for service in (service for service, on in wanted.items() if on):
                    others.enter_context(running(service(stack), stack))
                settings = _settings(stack)
                for command in ("migrate", "topics") if broker else ("migrate",):
                    features(settings, command)
                yield settings
        finally:
            end(stack_processes(stack.layout))


def _settings(stack: Stack) -> Settings:
    ports = stack.state.ports
    return Settings(
        database_url=SecretStr(stack.database_url("marquee")),
        kafka_bootstrap_servers=f"{LOOPBACK}:{ports.kafka}",
        mlflow_tracking_uri=f"http://{LOOPBACK}:{ports.mlflow}",
        erasure_secret=SecretStr(SECRET),
    )


def environment(settings: Settings) -> Mapping[str, str]:
    """Return the environment in which the project's commands find these services."""
    return {
        **os.environ,
        "MARQUEE_DATABASE_URL": settings.database_url.get_secret_value(),
        "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "MARQUEE_ERASURE_SECRET": settings.erasure_secret.get_secret_value(),
    }


def features(settings: Settings, *arguments: str) -> None:
    """Run `python -m features ...` to its end, quietly."""
    command = [sys.executable, "-m", "features", *arguments]
    subprocess.run(command, env=environment(settings), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_features(settings: Settings, arguments: Iterable[str]) -> "subprocess.Popen[bytes]":
    """Return `python -m features ...` as a running process, quiet."""
    command = [sys.executable, "-m", "features", *arguments]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=environment(settings), stdout=quiet, stderr=quiet)
