"""The supervisor: its configuration, and the few things asked of it over its socket."""

import os
import shlex
import subprocess
import sys
import xmlrpc.client
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import Faults, SupervisorTransport

from ops.local.errors import NotReadyError, StackError
from ops.local.readiness import wait_ready
from ops.local.service import Service
from ops.local.stack import Stack
from ops.local.state import write_private

# A process that ends within this time counts as a failed start and is tried again after a pause that grows by a second
# each time; one that ran longer is started again at once.
START_COUNTS_AFTER_S = 10
TRIES = 1_000_000_000  # the supervisor gives up after so many failed starts: never
ANSWERS_WITHIN_S = 15.0


@dataclass(frozen=True)
class ProcessInfo:
    """What the supervisor knows of a process."""

    name: str
    state: str  # STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN
    pid: int
    started: float  # seconds since 1970

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.state in {"STARTING", "RUNNING"}


def _escaped(text: str) -> str:
    """Return `text` for the configuration file, where a percent sign begins a variable."""
    if any(character in text for character in '"\\\n'):
        raise StackError(f"{text!r} holds a quote, backslash or line break, which the supervisor's file cannot carry")
    return text.replace("%", "%%")


def _program(service: Service, stack: Stack) -> str:
    """Return the section of one service."""
    environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in service.env.items())
    group = "true" if service.signal_group else "false"
    lines = {
        "command": _escaped(shlex.join(service.argv)),
        "directory": _escaped(str(service.cwd)),
        **({"user": service.user} if service.user else {}),
        **({"environment": environment} if environment else {}),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(START_COUNTS_AFTER_S),
        "startretries": str(TRIES),
        "stopsignal": service.stop_signal,
        "stopwaitsecs": f"{service.stop_within_s:.0f}",
        "stopasgroup": group,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _escaped(str(stack.layout.logs / f"{service.name}.log")),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "3",
    }
    return f"[program:{service.name}]\n" + "\n".join(f"{key}={value}" for key, value in lines.items())


def configuration(stack: Stack, services: Collection[Service]) -> str:
    """Return the supervisor's configuration file for `services`."""
    layout = stack.layout
    socket = _escaped(str(layout.supervisor_socket))
    own = {
        "logfile": _escaped(str(layout.logs / "supervisord.log")),
        "logfile_maxbytes": "10MB",
        "logfile_backups": "3",
        "pidfile": _escaped(str(layout.run_dir / "supervisord.pid")),
        "identifier": f"marquee-{layout.name}",
        "umask": "077",
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    interface = "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface"
    sections = [
        f"[unix_http_server]\nfile={socket}\nchmod=0600",
        "[supervisord]\n" + "\n".join(f"{key}={value}" for key, value in own.items()),
        f"[rpcinterface:supervisor]\n{interface}",
        f"[supervisorctl]\nserverurl=unix://{socket}",
        *(_program(service, stack) for service in services),
    ]
    return "\n\n".join(sections) + "\n"


class Supervisor:
    """The running supervisor of one stack, over its control socket.

    Parameters
    ----------
    socket
        The Unix socket that its configuration names.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def _call(self, method: str, *arguments: object) -> Any:
        """Return the answer to one call.

        Raises
        ------
        NotReadyError
            Where no supervisor listens.
        """
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        try:
            with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except OSError as error:
            raise NotReadyError(f"no supervisor listens on {self._socket}") from error

    def alive(self) -> bool:
        """Return whether it answers."""
        try:
            self._call("getState")
        except NotReadyError:
            return False
        return True

    def pid(self) -> int:
        """Return its process id."""
        return int(self._call("getPID"))

    def processes(self) -> dict[str, ProcessInfo]:
        """Return name -> state of every process."""
        answer = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        return {
            info["name"]: ProcessInfo(info["name"], info["statename"], info["pid"], float(info["start"]))
            for info in answer
        }

    def start(self, name: str) -> None:
        """Start a process unless it runs already; does not wait for it."""
        self._tolerant("startProcess", name, Faults.ALREADY_STARTED)

    def stop(self, name: str) -> None:
        """Stop a process unless it is stopped, and wait until it has."""
        self._tolerant("stopProcess", name, Faults.NOT_RUNNING)

    def _tolerant(self, method: str, name: str, fine: int) -> None:
        """Call `method` on a process; the fault that says it has been done already is no fault."""
        try:
            self._call(method, name, method == "stopProcess")
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != fine:
                raise StackError(f"the supervisor could not {method} {name}: {fault.faultString}") from fault

    def shutdown(self) -> None:
        """Let it end, with whatever still runs."""
        self._call("shutdown")


def start_supervisor(stack: Stack, services: Collection[Service]) -> Supervisor:
    """Return a supervisor newly started with the configuration of `services`, none of which runs yet."""
    layout = stack.layout
    write_private(layout.supervisor_conf, configuration(stack, services))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(layout.supervisor_conf)]
    done = subprocess.run(
        command,
        env=stack.process_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"the supervisor did not start: {(done.stderr or done.stdout).strip()}")
    supervisor = Supervisor(layout.supervisor_socket)

    def answers() -> None:
        supervisor.processes()

    wait_ready("the supervisor", answers, ANSWERS_WITHIN_S)
    return supervisor
