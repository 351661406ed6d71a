"""One stack: where it lies, its state, and the settings that it gives to every process."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from features.settings import Settings
from ops.local.errors import StackError
from ops.local.layout import ROOT, Layout
from ops.local.ports import LOOPBACK, choose_ports
from ops.local.state import Secrets, State, read_state, write_private, write_state

MARKER = "MARQUEE_STACK_PROCESS"
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SSL_CERT_FILE", "JAVA_HOME", "XDG_CACHE_HOME")

_LEFT_BY_A_START = {"lock", "logs"}
"""What a start that ended early leaves behind."""

API_WORKERS = "2"
"""Two workers and their parent take some 140 MB more than one process (measured), and outlive the death of one."""


@dataclass(frozen=True)
class Stack:
    """A layout and the state kept in it."""

    layout: Layout
    state: State

    def database_url(self, role: str, scheme: str = "postgresql") -> str:
        """Return the URL of `role`'s own database, which bears its name, with its password."""
        password = getattr(self.state.secrets, f"{role}_password")
        return f"{scheme}://{role}:{password}@{LOOPBACK}:{self.state.ports.postgres}/{role}"

    def settings(self) -> dict[str, str]:
        """Return the ``MARQUEE_*`` variables of this stack, and the two that keep numeric libraries from spinning.

        Settings that the stack leaves open are the caller's.
        """
        ports = self.state.ports
        return {
            **_given(),
            "MARQUEE_RUN_DIR": str(self.layout.run_dir),
            "MARQUEE_DATABASE_URL": self.database_url("marquee"),
            "MARQUEE_KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{ports.kafka}",
            "MARQUEE_MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{ports.mlflow}",
            "MARQUEE_AIRFLOW_URL": f"http://{LOOPBACK}:{ports.airflow}",
            "MARQUEE_AIRFLOW_USERNAME": "admin",
            "MARQUEE_AIRFLOW_PASSWORD": self.state.secrets.airflow_login,
            "MARQUEE_AIRFLOW_LINK": f"http://{LOOPBACK}:{ports.airflow}",
            "MARQUEE_MLFLOW_LINK": f"http://{LOOPBACK}:{ports.mlflow}",
            "MARQUEE_API_URL": f"http://{LOOPBACK}:{ports.api}",
            "MARQUEE_API_HOST": LOOPBACK,
            "MARQUEE_API_PORT": str(ports.api),
            "MARQUEE_WORKERS": os.environ.get("MARQUEE_WORKERS") or API_WORKERS,
            "MARQUEE_MODEL_NAME": "marquee",
            "MARQUEE_MODEL_ALIAS": "champion",
            "MARQUEE_ADMIN_TOKEN": self.state.secrets.admin_token,
            "MARQUEE_ERASURE_SECRET": self.state.secrets.erasure_secret,
            "MARQUEE_WORK_DIR": str(self.layout.run_dir / "work"),
            "MARQUEE_CACHE_DIR": str(self.layout.run_dir / "bundles"),
            "OMP_WAIT_POLICY": "PASSIVE",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def process_environment(self) -> dict[str, str]:
        """Return what a process of the stack sees: little of the caller's shell, our settings, and our mark on it."""
        inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {
            **inherited,
            **self.settings(),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "SPT_NOENV": "1",  # setproctitle would write over the environment, by which we know our processes
            MARKER: str(self.layout.run_dir),
        }

    def write_env_file(self) -> None:
        """Write `.run/env`, so that ``. .run/env`` gives any command this stack."""
        lines = [f"export {name}={shlex.quote(value)}" for name, value in self.settings().items()]
        write_private(self.layout.env_file, "\n".join(lines) + "\n")

    def read_env_file(self) -> dict[str, str]:
        """Return the settings that the stack was started with, as `write_env_file` left them."""
        words = shlex.split(self.layout.env_file.read_text(encoding="utf-8"))
        return dict(word.split("=", 1) for word in words if word != "export")


def _given() -> dict[str, str]:
    """Return the settings that our environment gives; an empty one counts as unset."""
    names = [f"MARQUEE_{field.upper()}" for field in Settings.model_fields]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def open_stack(layout: Layout) -> Stack | None:
    """Return the stack that was started in `layout` before, None where none was."""
    state = read_state(layout.state_file)
    return None if state is None else Stack(layout, state)


def _refuse_others(layout: Layout) -> None:
    """Raise StackError where a folder holds what is no stack's: `make clean` would remove it with the stack."""
    folder = layout.run_dir
    # `.run` and its like also keep what benchmarks make.
    own = folder.parent == ROOT and folder.name.startswith(".run")
    others = [] if own else sorted({path.name for path in folder.glob("*")} - _LEFT_BY_A_START)
    if others:
        raise StackError(
            f"no stack is started in {folder}: it holds {', '.join(map(repr, others[:3]))}, which `make clean` "
            "would remove with the stack. Let MARQUEE_RUN_DIR name a new or an empty folder"
        )


def prepare_stack(layout: Layout, environment: Mapping[str, str]) -> Stack:
    """Return the stack of `layout` with its folders, ports and secrets, made and kept where they are new.

    Raises
    ------
    StackError
        Where the folder of a new stack holds something else.
    """
    kept = read_state(layout.state_file)
    if kept is None:
        _refuse_others(layout)
    ports = choose_ports(environment, kept.ports if kept else None)
    state = State(ports, kept.secrets if kept else Secrets())
    for folder in (layout.run_dir, layout.logs, layout.artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    # Also where it seems unchanged: reading an older state makes the secrets that it lacks.
    write_state(layout.state_file, state)
    stack = Stack(layout, state)
    stack.write_env_file()
    return stack
