"""`make up`: start everything, each service as soon as all it needs is ready."""

import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from rich.console import Console

from ops.local.errors import NotReadyError, StackError
from ops.local.layout import Layout
from ops.local.lock import exclusive
from ops.local.plan import Node, graph, services
from ops.local.ports import LOOPBACK, choose_ports, refuse_busy
from ops.local.processes import end, stack_processes
from ops.local.readiness import wait_ready
from ops.local.service import Service
from ops.local.stack import Stack, open_stack, prepare_stack
from ops.local.supervise import Supervisor, start_supervisor

LOG_LINES_SHOWN = 15


def up(layout: Layout, environment: Mapping[str, str], console: Console, names: Collection[str] = ()) -> Stack:
    """Return the stack of `layout`, running: every service, or `names` and what they need."""
    started = time.monotonic()
    with exclusive(layout):
        supervisor = Supervisor(layout.supervisor_socket)
        if supervisor.alive():
            stack = _running_stack(layout, environment)
        else:
            _end_orphans(layout, console)
            stack = prepare_stack(layout, environment)
            refuse_busy(stack.state.ports)
            supervisor = start_supervisor(stack, services(stack))
        nodes = graph(stack, names)
        if all_ready(supervisor, nodes.values()):
            console.print(f"the stack is up already ({layout.run_dir})")
            return stack
        _bring_up(supervisor, stack, nodes, console)
    console.print(f"the stack is up ({time.monotonic() - started:.0f} s); `. {layout.env_file}` gives it to a shell")
    return stack


def _running_stack(layout: Layout, environment: Mapping[str, str]) -> Stack:
    """Return the stack that runs now.

    Raises
    ------
    StackError
        Where `environment` asks for other ports or settings: a running service cannot take them.
    """
    stack = open_stack(layout)
    if stack is None or not layout.env_file.exists():
        raise StackError(f"a supervisor runs but {layout.state_file} or {layout.env_file} is gone: `make down` first")
    if choose_ports(environment, stack.state.ports) != stack.state.ports:
        raise StackError(f"the stack in {layout.run_dir} runs on {stack.state.ports}: `make down` before it moves")
    # What the shell does not say goes on as it was, and what is the stack's own is no shell's to say.
    began_with, now = stack.read_env_file(), stack.settings()
    if changed := [name for name in now if environment.get(name) and now[name] != began_with.get(name)]:
        told = "was started with another " + ", ".join(changed)
        raise StackError(f"the stack in {layout.run_dir} {told}: `make down` before it changes")
    return stack


def _end_orphans(layout: Layout, console: Console) -> None:
    """End what a supervisor that was killed has left behind."""
    orphans = stack_processes(layout)
    if orphans:
        console.print(f"ending {len(orphans)} processes that a killed supervisor left")
        end(orphans)


def all_ready(supervisor: Supervisor, nodes: Collection[Node]) -> bool:
    """Return whether every service among `nodes` runs and is ready."""
    running = supervisor.processes()
    try:
        for node in nodes:
            if isinstance(node, Service):
                if not running[node.name].running:
                    return False
                node.ready(running[node.name].started)
    except NotReadyError:
        return False
    return True


def _bring_up(supervisor: Supervisor, stack: Stack, nodes: Mapping[str, Node], console: Console) -> None:
    """Run every node as soon as those it depends on are done; the first failure is raised, the rest is left running."""
    done: dict[str, Future[None]] = {}

    def run(node: Node) -> None:
        for name in node.depends_on:
            done[name].result()
        began = time.monotonic()
        if isinstance(node, Service):
            _start(supervisor, stack, node)
        else:
            node.run()
        where = f"{LOOPBACK}:{node.port}" if isinstance(node, Service) and node.port else ""
        console.print(f"  {node.name:<22} ready  {time.monotonic() - began:5.1f} s  {where}", highlight=False)

    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        for node in _dependencies_first(nodes):
            done[node.name] = pool.submit(run, node)
    for future in done.values():
        future.result()


def _dependencies_first(nodes: Mapping[str, Node]) -> list[Node]:
    """Return `nodes` in an order in which each follows all it depends on."""
    ordered: dict[str, Node] = {}

    def add(node: Node) -> None:
        for name in node.depends_on:
            add(nodes[name])
        ordered[node.name] = node

    for node in nodes.values():
        add(node)
    return list(ordered.values())


def _start(supervisor: Supervisor, stack: Stack, service: Service) -> None:
    """Start `service` unless it runs, and return when it is ready.

    Raises
    ------
    StackError
        Where it does not get ready, with the end of its log.
    """
    if service.prepare is not None and not supervisor.processes()[service.name].running:
        service.prepare()
    supervisor.start(service.name)

    def probe() -> None:
        info = supervisor.processes()[service.name]
        if not info.running:
            raise NotReadyError(f"it ends soon after its start (the supervisor says {info.state})")
        service.ready(info.started)

    try:
        wait_ready(service.name, probe, service.ready_within_s)
    except StackError as error:
        log = stack.layout.logs / f"{service.name}.log"
        lines = (
            log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:] if log.exists() else []
        )
        raise StackError("\n".join([f"{error}; the end of {log}:", *lines])) from error
