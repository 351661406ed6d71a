"""Airflow: API server, scheduler with its executor, DAG processor."""

import json
import subprocess
import sys
from functools import partial
from importlib.metadata import version

from ops.local.errors import StackError
from ops.local.layout import ROOT
from ops.local.ports import LOOPBACK
from ops.local.readiness import airflow_healthy, airflow_takes_tasks
from ops.local.service import Service
from ops.local.stack import Stack
from ops.local.state import write_private

USER = "admin"
# Each name of the service, the command that runs it, and how to see that it is ready.
COMPONENTS = (
    ("airflow-api", ("api-server",), airflow_takes_tasks),
    ("airflow-scheduler", ("scheduler", "--skip-serve-logs"), partial(airflow_healthy, component="scheduler")),
    ("airflow-dag-processor", ("dag-processor",), partial(airflow_healthy, component="dag_processor")),
)


def environment(stack: Stack) -> dict[str, str]:
    """Return Airflow's configuration as variables, the same for all its components."""
    home, secrets = stack.layout.run_dir / "airflow", stack.state.secrets
    url, database = (
        f"http://{LOOPBACK}:{stack.state.ports.airflow}",
        stack.database_url("airflow", "postgresql+psycopg"),
    )
    sections: dict[str, dict[str, str]] = {
        "CORE": {
            "DAGS_FOLDER": str(ROOT / "dags"),
            "PLUGINS_FOLDER": str(ROOT / "dags" / "plugins"),
            "LOAD_EXAMPLES": "False",
            "EXECUTOR": "marquee_executor.MarqueeExecutor",  # of the folder above
            "PARALLELISM": "2",
            # What is scheduled runs from the next tick on; what is not has to be started.
            "DAGS_ARE_PAUSED_AT_CREATION": "False",
            "FERNET_KEY": secrets.airflow_fernet,
            "EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        },
        "DATABASE": {"SQL_ALCHEMY_CONN": database, "SQL_ALCHEMY_CONN_ASYNC": database},
        "API": {
            "HOST": LOOPBACK,
            "PORT": str(stack.state.ports.airflow),
            "BASE_URL": url,
            "SECRET_KEY": secrets.airflow_api_secret,
            "WORKERS": "1",
        },
        "API_AUTH": {"JWT_SECRET": secrets.airflow_jwt},
        "SCHEDULER": {
            "CATCHUP_BY_DEFAULT": "False",
            # What a killed scheduler left goes on within a minute, not five; a click is seen within half a second.
            "ORPHANED_TASKS_CHECK_INTERVAL": "30",
            "SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        },
        # The default sees a new DAG file after five minutes; a newcomer edits one and wants to see it.
        "DAG_PROCESSOR": {"REFRESH_INTERVAL": "10"},
        "LOGGING": {"BASE_LOG_FOLDER": str(home / "logs")},
    }
    variables = {f"AIRFLOW__{section}__{key}": text for section, keys in sections.items() for key, text in keys.items()}
    return {"AIRFLOW_HOME": str(home), **variables}


def services(stack: Stack) -> list[Service]:
    """Return the three components; the API server first, through which the others' tasks report."""
    port = stack.state.ports.airflow
    return [
        Service(
            name=name,
            argv=(sys.executable, "-m", "airflow", *command),
            env=environment(stack),
            port=port if name == "airflow-api" else None,
            depends_on=("airflow-schema",) if name == "airflow-api" else ("airflow-api",),
            ready=ready(port),
            ready_within_s=300.0,
        )
        for name, command, ready in COMPONENTS
    ]


def migrate(stack: Stack) -> None:
    """Bring Airflow's database to its version, and write its login; a stamp spares the seconds that a look costs."""
    home = stack.layout.run_dir / "airflow"
    write_private(home / "passwords.json", json.dumps({USER: stack.state.secrets.airflow_login}) + "\n")
    stamp, wanted = home / "migrated", version("apache-airflow")
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with (stack.layout.logs / "airflow-schema.log").open("ab") as log:
        done = subprocess.run(
            command,
            env={**stack.process_environment(), **environment(stack)},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode != 0:
        raise StackError(f"`airflow db migrate` failed: see {stack.layout.logs / 'airflow-schema.log'}")
    stamp.write_text(wanted, encoding="ascii")
