"""The whole stack as one graph: which services and steps there are, and what waits for what."""

from collections.abc import Collection
from functools import partial

from ops.local.databases import create_databases
from ops.local.errors import StackError
from ops.local.service import Service, Task
from ops.local.services import airflow, kafka, marquee, mlflow, postgres
from ops.local.stack import Stack

Node = Service | Task


def services(stack: Stack) -> list[Service]:
    """Return every long-running process, in the order in which `make status` shows them."""
    return [
        postgres.service(stack),
        kafka.service(stack),
        mlflow.service(stack),
        *airflow.services(stack),
        marquee.landing(stack),
        marquee.embedder(stack),
        marquee.api(stack),
    ]


def tasks(stack: Stack) -> list[Task]:
    """Return the steps between the services, each safe to repeat."""
    return [
        Task("databases", partial(create_databases, stack), ("postgres",)),
        Task("airflow-schema", partial(airflow.migrate, stack), ("databases",)),
        Task("schema", partial(marquee.run_features, stack, "migrate"), ("databases",)),
        Task("topics", partial(marquee.run_features, stack, "topics"), ("kafka",)),
    ]


def graph(stack: Stack, names: Collection[str] = ()) -> dict[str, Node]:
    """Return name -> node of the whole stack, or of `names` and all they depend on.

    Raises
    ------
    StackError
        For a name that is no service.
    """
    every: list[Node] = [*services(stack), *tasks(stack)]
    nodes = {node.name: node for node in every}
    unknown = [name for name in names if not isinstance(nodes.get(name), Service)]
    if unknown:
        known = ", ".join(node.name for node in nodes.values() if isinstance(node, Service))
        raise StackError(f"no service is called {', '.join(unknown)}; there are: {known}")
    wanted, queue = set(), list(names or nodes)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue += nodes[name].depends_on
    return {name: node for name, node in nodes.items() if name in wanted}


def stop_layers(services_: Collection[Service], tasks_: Collection[Task]) -> list[list[str]]:
    """Return service names in layers, those first that no other needs any more."""
    every: list[Node] = [*services_, *tasks_]
    needs = {node.name: set(node.depends_on) for node in every}
    layers = []
    while needs:
        free = [name for name in needs if not any(name in others for others in needs.values())]
        layers.append([service.name for service in services_ if service.name in free])
        for name in free:
            del needs[name]
    return [layer for layer in layers if layer]
