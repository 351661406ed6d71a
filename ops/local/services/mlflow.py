"""MLflow: tracking server and model registry."""

import sys

from ops.local.layout import ROOT
from ops.local.ports import LOOPBACK
from ops.local.readiness import http_ok
from ops.local.service import Service
from ops.local.stack import Stack


def service(stack: Stack) -> Service:
    """Return the service; its metadata lie in Postgres, its artifacts in the stack's folder of `mlruns`."""
    port = stack.state.ports.mlflow
    return Service(
        name="mlflow",
        argv=(
            *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1"),
            *("--artifacts-destination", str(stack.layout.artifacts)),
        ),
        env={
            # In the environment, where other users of the machine do not see the password.
            "MLFLOW_BACKEND_STORE_URI": stack.database_url("mlflow", "postgresql+psycopg"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": stack.state.secrets.mlflow_secret,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes that nobody here uses, and an open job API
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        cwd=ROOT,
        port=port,
        depends_on=("databases",),
        ready=http_ok(port, "/health"),
    )
