"""Which ports a stack uses, and who holds one that is busy."""

import atexit
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import psutil

from ops.local.errors import StackError

LOOPBACK = "127.0.0.1"
BASE_VARIABLE = "MARQUEE_PORT_BASE"

_LOWEST: Final = 20_000
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one stack, all on loopback; the defaults leave the well-known ones to others."""

    postgres: int = 15432
    kafka: int = 19092
    kafka_controller: int = 19093
    mlflow: int = 15000
    airflow: int = 18080
    api: int = 8000
    landing_metrics: int = 18001
    embedder_metrics: int = 18002


def variable(name: str) -> str:
    """Return the environment variable that moves the port `name`."""
    return f"MARQUEE_{name.upper()}_PORT"


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """Return the port number that variable `name` holds, None where it is unset or empty.

    Raises
    ------
    StackError
        Where it is no number of 1 to 65535.
    """
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StackError(f"{name}={text!r} is no port: expected a number of 1 to 65535")
    return int(text)


def choose_ports(environment: Mapping[str, str], kept: Ports | None) -> Ports:
    """Return the ports: of their own variables, else ``MARQUEE_PORT_BASE`` + place, else `kept`, else the defaults."""
    base = _number(environment, BASE_VARIABLE)
    chosen: dict[str, int] = {}
    for place, field in enumerate(fields(Ports)):
        own = _number(environment, variable(field.name))
        fallback = base + place if base is not None else getattr(kept or Ports(), field.name)
        chosen[field.name] = own if own is not None else fallback
    twice = [f"{variable(name)}={port}" for name, port in chosen.items() if list(chosen.values()).count(port) > 1]
    if twice:
        raise StackError(f"one port is given to several services: {', '.join(twice)}; give each its own")
    return Ports(**chosen)


def free_port() -> int:
    """Return a port that nobody listens on, and that no other call gives while this process lives: for tests.

    A port of the kernel's choice may be the near end of somebody's connection by the time a service binds it. These are
    below all that the kernel gives to connections; what tells other processes that one is taken is its UDP twin.

    Raises
    ------
    StackError
        Where none is left.
    """
    highest = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    candidates = range(_LOWEST, highest)
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        twin = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            twin.bind((LOOPBACK, port))
        except OSError:
            twin.close()
            continue
        if not is_busy(port):
            atexit.register(twin.close)
            return port
        twin.close()
    raise StackError(f"no port of {_LOWEST} to {highest} is free")


def free_ports() -> Ports:
    """Return a free port for each service, for tests."""
    return Ports(*(free_port() for _ in fields(Ports)))


def is_busy(port: int) -> bool:
    """Return whether someone listens on `port` of loopback, or of all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def holder(port: int) -> str:
    """Return the process that listens on `port` in words, as far as this user may see it."""
    for connection in psutil.net_connections(kind="tcp"):
        listens = connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:2] == (port,)
        if listens and connection.pid:
            process = psutil.Process(connection.pid)
            return f"process {process.pid} ({' '.join(process.cmdline())[:100]})"
    return "a process of another user"


def refuse_busy(ports: Ports) -> None:
    """Raise StackError naming every busy port, its holder and the variable that moves it."""
    busy = [(field.name, getattr(ports, field.name)) for field in fields(Ports)]
    lines = [
        f"port {port} ({name}) is held by {holder(port)}: stop it, or move ours with {variable(name)}=NUMBER"
        for name, port in busy
        if is_busy(port)
    ]
    if lines:
        raise StackError("\n".join([*lines, f"{BASE_VARIABLE}=NUMBER moves all of them at once"]))
