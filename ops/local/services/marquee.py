"""Our own processes: the landing consumer and the API; and the commands that prepare their stores."""

import subprocess
import sys

from features.kafka import LANDING_GROUP
from ops.local.errors import StackError
from ops.local.layout import ROOT
from ops.local.readiness import http_ok, kafka_group_reads, metric_is
from ops.local.service import Service
from ops.local.stack import Stack


def landing(stack: Stack) -> Service:
    """Return the consumer that lands events in Postgres."""
    return Service(
        name="landing",
        # A slot of its own: after a kill its partitions wait for it instead of for the end of a session.
        argv=(sys.executable, "-m", "features", "land", "--slot", "stack", *_metrics(stack)),
        depends_on=("schema", "topics"),
        ready=kafka_group_reads(stack.state.ports.kafka, LANDING_GROUP),
    )


def _metrics(stack: Stack) -> tuple[str, str]:
    return "--metrics-port", str(stack.state.ports.landing_metrics)


def embedder(stack: Stack) -> Service:
    """Return the embedder, which makes vectors of texts."""
    port = stack.state.ports.embedder_metrics
    return Service(
        name="embedder",
        argv=(sys.executable, "-m", "features", "embed", "--metrics-port", str(port)),
        port=port,
        depends_on=("schema",),
        ready=metric_is(port, "marquee_embedding_following", 1.0),
    )


def api(stack: Stack) -> Service:
    """Return the API server."""
    port = stack.state.ports.api
    return Service(
        name="api",
        argv=(sys.executable, "-m", "serving"),
        port=port,
        depends_on=("schema", "topics", "mlflow"),
        ready=http_ok(port, "/health/live"),
    )


def run_features(stack: Stack, command: str) -> None:
    """Run ``python -m features COMMAND`` to its end.

    Raises
    ------
    StackError
        Where it fails, with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", "features", command],
        env=stack.process_environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"`python -m features {command}` failed:\n{(done.stderr + done.stdout).strip()[-2000:]}")
