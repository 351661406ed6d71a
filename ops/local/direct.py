"""One service without the supervisor, for as long as a block of code needs it: what tests run."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ops.local.account import run_as
from ops.local.errors import StackError
from ops.local.readiness import wait_ready
from ops.local.service import Service
from ops.local.stack import Stack


@contextmanager
def running(service: Service, stack: Stack) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the ready process of `service`, leader of its own process group; at the end it is stopped in any case."""
    stack.layout.logs.mkdir(parents=True, exist_ok=True)
    if service.prepare is not None:
        service.prepare()
    started = time.time()
    with (stack.layout.logs / f"{service.name}.log").open("ab") as log:
        process = subprocess.Popen(
            service.argv,
            env={**stack.process_environment(), **service.env},
            cwd=service.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **run_as(service.user),
        )

    def probe() -> None:
        if process.poll() is not None:
            raise StackError(f"{service.name} ended with code {process.returncode}, see {log.name}")
        service.ready(started)

    try:
        wait_ready(service.name, probe, service.ready_within_s)
        yield process
    finally:
        stop(service, process)


def stop(service: Service, process: subprocess.Popen[bytes]) -> None:
    """End `process` as the supervisor would: by the service's signal, and what is left of its group by force."""
    number = signal.Signals[f"SIG{service.stop_signal}"]
    if process.poll() is None:
        if service.signal_group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    try:
        process.wait(service.stop_within_s)
    except subprocess.TimeoutExpired:
        process.kill()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the whole group has ended: nothing to force
    finally:
        process.wait()
