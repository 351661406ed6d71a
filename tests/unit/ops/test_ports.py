"""Which ports a stack takes, and what it says of a busy one."""

import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest

from ops.local.errors import StackError
from ops.local.ports import Ports, choose_ports, free_port, free_ports, holder, is_busy, refuse_busy


def test_own_variable_goes_before_base_before_kept_before_default() -> None:
    kept = replace(Ports(), api=7000, mlflow=7001)
    assert choose_ports({}, None) == Ports()
    assert choose_ports({}, kept) == kept
    assert choose_ports({"MARQUEE_API_PORT": "9000"}, kept) == replace(kept, api=9000)
    based = choose_ports({"MARQUEE_PORT_BASE": "20000", "MARQUEE_API_PORT": "9000"}, kept)
    assert based == Ports(20000, 20001, 20002, 20003, 20004, 9000, 20006, 20007)


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "8 000"])
def test_what_is_no_port_is_named_with_its_variable(text: str) -> None:
    with pytest.raises(StackError, match="MARQUEE_KAFKA_PORT"):
        choose_ports({"MARQUEE_KAFKA_PORT": text}, None)


def test_one_port_for_two_services_is_refused() -> None:
    with pytest.raises(StackError, match=r"MARQUEE_MLFLOW_PORT=8000.*MARQUEE_API_PORT=8000"):
        choose_ports({"MARQUEE_MLFLOW_PORT": "8000"}, None)


def test_a_busy_port_is_named_with_its_holder_and_the_variable_that_moves_it() -> None:
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports.mlflow)):
        assert is_busy(ports.mlflow)
        assert str(os.getpid()) in holder(ports.mlflow)
        with pytest.raises(StackError, match="MARQUEE_MLFLOW_PORT=NUMBER") as refused:
            refuse_busy(ports)
    assert f"process {os.getpid()}" in str(refused.value)
    assert "MARQUEE_KAFKA_PORT" not in str(refused.value)
    refuse_busy(ports)


def test_a_free_port_is_given_once_by_whichever_process_and_is_none_that_connections_get() -> None:
    code = "from ops.local.ports import free_port; print(*(free_port() for _ in range(50))); input()"
    others = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    given = [free_port() for _ in range(50)]
    for other in others:
        assert other.stdout is not None
        given.extend(int(number) for number in other.stdout.readline().split())
    for other in others:
        other.communicate("")
    assert len(set(given)) == len(given) == 150
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as near:
        assert max(given) < min(server.getsockname()[1], near.getsockname()[1])
