"""The graph of the stack, and the supervisor's file made of it."""

import configparser
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ops.local.errors import StackError
from ops.local.layout import Layout
from ops.local.plan import graph, services, stop_layers, tasks
from ops.local.ports import Ports
from ops.local.stack import Stack
from ops.local.state import Secrets, State
from ops.local.supervise import configuration

NINE = {
    *(
        "postgres",
        "kafka",
        "mlflow",
        "airflow-api",
        "airflow-scheduler",
        "airflow-dag-processor",
        "landing",
        "embedder",
        "api",
    ),
}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return Stack(Layout(tmp_path / "run", tmp_path / "mlruns"), State(Ports(), Secrets()))


def test_there_are_the_nine_processes_and_all_they_wait_for_exists(stack: Stack) -> None:
    assert {service.name for service in services(stack)} == NINE
    nodes = graph(stack)
    assert all(name in nodes for node in nodes.values() for name in node.depends_on)


def test_a_part_of_the_stack_brings_what_it_needs_and_no_more(stack: Stack) -> None:
    assert set(graph(stack, ["mlflow"])) == {"postgres", "databases", "mlflow"}
    with pytest.raises(StackError, match="no service is called mlfow"):
        graph(stack, ["mlfow"])


def test_nothing_is_stopped_before_what_needs_it(stack: Stack) -> None:
    layers = stop_layers(services(stack), tasks(stack))
    place = {name: number for number, layer in enumerate(layers) for name in layer}
    assert set(place) == NINE
    for before, after in (
        ("api", "mlflow"),
        ("mlflow", "postgres"),
        ("landing", "kafka"),
        ("airflow-scheduler", "airflow-api"),
    ):
        assert place[before] < place[after]


def test_the_supervisors_file_restarts_without_end_and_stops_whole_groups(stack: Stack) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(stack, services(stack)))
    programs = {
        name.removeprefix("program:"): parser[name] for name in parser.sections() if name.startswith("program:")
    }
    assert set(programs) == NINE
    for name, program in programs.items():
        assert program["autorestart"] == "true"
        assert int(program["startretries"]) > 10**6
        assert program["killasgroup"] == "true"
        assert program["stopasgroup"] == ("false" if name == "postgres" else "true")
        assert program["stdout_logfile"] == str(stack.layout.logs / f"{name}.log")


def test_no_password_stands_in_a_command_that_other_users_can_see(stack: Stack) -> None:
    for service in services(stack):
        for secret in vars(stack.state.secrets).values():
            assert secret not in " ".join(service.argv)


def test_a_value_that_the_supervisors_file_cannot_carry_is_refused(stack: Stack) -> None:
    broken = replace(services(stack)[2], env={"NAME": 'a"b'})
    with pytest.raises(StackError, match="quote"):
        configuration(stack, [broken])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands Postgres to another account")
def test_as_root_postgres_runs_as_another_account(stack: Stack) -> None:
    assert services(stack)[0].user in {"postgres", "nobody"}
