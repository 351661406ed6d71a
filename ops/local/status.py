"""`make status`: processes, ports, readiness, addresses and logins."""

import time
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console
from rich.table import Table

from ops.local.errors import NotReadyError
from ops.local.layout import Layout
from ops.local.plan import services
from ops.local.ports import LOOPBACK
from ops.local.service import Service
from ops.local.services.postgres import admin_url
from ops.local.stack import Stack, open_stack
from ops.local.supervise import ProcessInfo, Supervisor


def status(layout: Layout, console: Console) -> bool:
    """Print what runs and return whether everything does and is ready."""
    stack = open_stack(layout)
    if stack is None:
        console.print(f"no stack was ever started in {layout.run_dir}: `make up` starts one")
        return False
    supervisor = Supervisor(layout.supervisor_socket)
    known = supervisor.processes() if supervisor.alive() else {}
    every = services(stack)
    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(lambda service: readiness(service, known.get(service.name)), every))
    table = Table("process", "state", "pid", "up for", "address", "ready", title=f"stack {layout.name}")
    for service, ready in zip(every, seen, strict=True):
        table.add_row(*_row(service, known.get(service.name)), ready)
    console.print(table)
    console.print(addresses(stack), soft_wrap=True, markup=False)
    if not known:
        console.print("the supervisor does not run: `make up` starts the stack")
    return all(ready == "yes" for ready in seen)


def readiness(service: Service, info: ProcessInfo | None) -> str:
    """Return "yes", or why `service` is not ready."""
    if info is None or not info.running:
        return "no"
    try:
        service.ready(info.started)
    except NotReadyError as error:
        return str(error)
    return "yes"


def _row(service: Service, info: ProcessInfo | None) -> tuple[str, str, str, str, str]:
    """Return the cells of one process but the last."""
    address = f"{LOOPBACK}:{service.port}" if service.port else ""
    if info is None or not info.running:
        return service.name, info.state.lower() if info else "stopped", "", "", address
    seconds = int(time.time() - info.started)
    lasted = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return service.name, info.state.lower(), str(info.pid), lasted, address


def addresses(stack: Stack) -> str:
    """Return where people and programs reach the stack, with logins: one line each, to be copied."""
    settings = stack.settings()
    login = f"{settings['MARQUEE_AIRFLOW_USERNAME']} / {settings['MARQUEE_AIRFLOW_PASSWORD']}"
    lines = (
        ("Airflow", f"{settings['MARQUEE_AIRFLOW_URL']}   {login}"),
        ("MLflow", settings["MARQUEE_MLFLOW_TRACKING_URI"]),
        ("API", f"{settings['MARQUEE_API_URL']}/docs"),
        ("admin token", settings["MARQUEE_ADMIN_TOKEN"]),
        ("Kafka", settings["MARQUEE_KAFKA_BOOTSTRAP_SERVERS"]),
        ("Postgres", settings["MARQUEE_DATABASE_URL"]),
        ("  as superuser", admin_url(stack)),
    )
    return "\n".join(f"{what:<15} {where}" for what, where in lines)
