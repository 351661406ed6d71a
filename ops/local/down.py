"""`make down`: stop everything in reverse order and look that nothing is left."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import psutil
from rich.console import Console

from ops.local.errors import NotReadyError, StackError
from ops.local.layout import Layout
from ops.local.lock import exclusive
from ops.local.plan import services, stop_layers, tasks
from ops.local.ports import Ports, holder, is_busy
from ops.local.processes import end, stack_processes
from ops.local.readiness import wait_ready
from ops.local.stack import open_stack
from ops.local.supervise import Supervisor

SUPERVISOR_ENDS_WITHIN_S = 60.0


def down(layout: Layout, console: Console) -> None:
    """Stop the stack of `layout`; its data stay.

    Raises
    ------
    StackError
        Where one of its processes is still there afterwards.
    """
    if not layout.run_dir.exists():
        console.print(f"no stack was ever started in {layout.run_dir}")
        return
    with exclusive(layout):
        supervisor = Supervisor(layout.supervisor_socket)
        if supervisor.alive():
            _stop_in_order(layout, supervisor, console)
        left = stack_processes(layout)
        if left:
            console.print(f"ending {len(left)} processes that no supervisor watched")
            end(left)
        _check_nothing_left(layout)
    others = "; ".join(_held_by_others(layout))
    console.print(f"the stack is down: {others or 'no process and no listening port is left'}", highlight=False)


def _stop_in_order(layout: Layout, supervisor: Supervisor, console: Console) -> None:
    """Stop layer by layer, then the supervisor itself."""
    stack = open_stack(layout)
    known = supervisor.processes()
    layers = stop_layers(services(stack), tasks(stack)) if stack else []
    with ThreadPoolExecutor() as pool:
        for layer in [*layers, list(known)]:
            names = [name for name in layer if known[name].state not in {"STOPPED", "EXITED", "FATAL"}]
            list(pool.map(supervisor.stop, names))
            if names:
                console.print(f"  stopped {', '.join(names)}", highlight=False)
            known = supervisor.processes()
    pid = supervisor.pid()
    supervisor.shutdown()

    def gone() -> None:
        # Not whether anything is left: a service that was killed leaves children that no supervisor ends.
        if psutil.pid_exists(pid):
            raise NotReadyError("the supervisor still runs")

    wait_ready("the supervisor's end", gone, SUPERVISOR_ENDS_WITHIN_S)


def _check_nothing_left(layout: Layout) -> None:
    """Raise StackError where a process of the stack is left."""
    left = [f"process {process.pid} ({process.name()})" for process in stack_processes(layout)]
    if left:
        raise StackError("after stopping, there is still: " + "; ".join(left))


def _held_by_others(layout: Layout) -> list[str]:
    """Return the ports of the stack that are listened on, with who does: none of its processes, as they are gone."""
    stack = open_stack(layout)
    if stack is None:
        return []
    numbers = [getattr(stack.state.ports, field.name) for field in fields(Ports)]
    return [f"port {number} is held by {holder(number)}, none of its own" for number in numbers if is_busy(number)]
