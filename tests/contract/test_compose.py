"""docker-compose.yml is valid, and is the stack of `make up` in containers. No Docker engine is needed or used."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from features.settings import Settings
from ops.compose.__main__ import variables
from ops.local import plan
from ops.local.layout import ROOT, Layout
from ops.local.ports import Ports, variable
from ops.local.service import Service
from ops.local.services import airflow, kafka, mlflow, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
ONE_OFF = {"airflow-schema", "schema", "topics"}
ONLY_COMPOSE = {"kafka-ui"}
# Values that say where something is or listens: they differ between one machine and a network of containers.
PLACES = {"--host", "--port", "--artifacts-destination", "--metrics-port"}
ADDRESSES = {"controller.quorum.voters", "listeners", "advertised.listeners", "log.dirs"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Stack:
    folder = tmp_path_factory.mktemp("stack")
    return Stack(Layout(folder / "run", folder / "mlruns"), State(Ports(), Secrets()))


@pytest.fixture(scope="module")
def local(stack: Stack) -> dict[str, Service]:
    return {service.name: service for service in plan.services(stack)}


def without_places(argv: Iterable[str]) -> list[str]:
    """Return a command without its interpreter and without the values that say where it listens or writes."""
    words, kept = list(argv), []
    for before, word in zip(["", *words], words, strict=False):
        kept.append("PLACE" if before in PLACES else word)
    return kept[1:]


def test_it_is_valid_by_the_compose_schema() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    command = [str(check), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_accepts_it_where_its_plugin_is_there(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker compose plugin on this machine")
    env_file = tmp_path / "env"
    env_file.write_text("\n".join(f"{name}={value}" for name, value in variables(Secrets()).items()), encoding="ascii")
    command = [docker, "compose", "--env-file", str(env_file), "-f", str(COMPOSE), "config", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_has_the_services_and_steps_of_the_local_stack(
    compose: dict[str, Any], local: dict[str, Service], stack: Stack
) -> None:
    steps = {task.name for task in plan.tasks(stack)} - {"databases"}  # there by the Postgres image's first start
    assert set(compose["services"]) == set(local) | steps | ONLY_COMPOSE
    assert steps == ONE_OFF


@pytest.mark.parametrize("name", ["mlflow", *(name for name, _, _ in airflow.COMPONENTS), "landing", "embedder", "api"])
def test_it_runs_the_command_of_the_local_stack(compose: dict[str, Any], local: dict[str, Service], name: str) -> None:
    ours = without_places(local[name].argv)
    if "--slot" in ours:  # and what follows it: one process's own, while compose may run several
        ours = ours[: ours.index("--slot")]
    assert without_places(compose["services"][name]["command"]) == ours


@pytest.mark.parametrize("name", ["landing", "embedder", "api", *(name for name, _, _ in airflow.COMPONENTS)])
def test_it_gives_the_settings_of_the_local_stack_and_the_hosts_where_that_leaves_them_open(
    compose: dict[str, Any], stack: Stack, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    every = {f"MARQUEE_{field.upper()}" for field in Settings.model_fields}
    for setting in every:
        monkeypatch.delenv(setting, raising=False)
    ours = set(stack.settings())
    given = {key: text for key, text in compose["services"][name]["environment"].items() if key[:8] != "AIRFLOW_"}
    assert set(given) - {"NUMBA_CACHE_DIR"} == (ours | every) - {"MARQUEE_RUN_DIR"}
    # A variable without a value is the host's, and is not set in the container where the host does not set it.
    assert {key for key, text in given.items() if text is None} == every - ours


def test_airflow_and_mlflow_are_configured_as_locally(compose: dict[str, Any], stack: Stack) -> None:
    ours = airflow.environment(stack)
    theirs = compose["services"]["airflow-scheduler"]["environment"]
    assert {key for key in theirs if key.startswith("AIRFLOW_")} == set(ours)
    fixed = [key for key in ours if re.search(r"(EXAMPLES|EXECUTOR|PARALLELISM|PAUSED|CATCHUP|INTERVAL|WORKERS)", key)]
    assert {key: theirs[key] for key in fixed} == {key: ours[key] for key in fixed}
    server = compose["services"]["mlflow"]["environment"]
    assert set(server) - set(mlflow.service(stack).env) == {"MLFLOW_SERVER_ALLOWED_HOSTS"}


def test_the_broker_and_the_database_are_configured_as_locally(compose: dict[str, Any], tmp_path: Path) -> None:
    theirs = compose["services"]["kafka"]["environment"]
    for name, value in kafka.properties(Ports(), tmp_path).items():
        key = f"KAFKA_{name.replace('.', '_').upper()}"
        assert key in theirs
        assert name in ADDRESSES or theirs[key] == value, name
    command = compose["services"]["postgres"]["command"]
    local_only = {"listen_addresses", "unix_socket_directories"}
    expected = {f"{name}={value}" for name, value in postgres.SETTINGS.items() if name not in local_only}
    assert set(command) - {"postgres", "-c"} == expected


def test_every_image_is_pinned_and_every_long_running_service_has_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"]), name
        assert ("healthcheck" in service) != (name in ONE_OFF), name
    bases = re.findall(r"^FROM (\S+) AS (\w+(?:-\w+)?)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    stages = {stage for _, stage in bases}
    assert all(base in stages or re.search(r":\d+\.\d+\.\d+-", base) for base, _ in bases)


def test_only_loopback_ports_are_published_and_the_same_variables_move_them(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:${MARQUEE_") for port in published)
    defaults = dict(re.findall(r"\$\{(MARQUEE_\w+_PORT):-(\d+)\}", " ".join(published)))
    for name in ("postgres", "kafka", "mlflow", "airflow", "api"):
        assert defaults[variable(name)] == str(getattr(Ports(), name))


def test_our_own_containers_are_hardened(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if service["image"].startswith("marquee-"):
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
    targets = re.split(r"^FROM ", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for target in targets:
        if target.split(" AS ")[-1].startswith(("serving\n", "batch\n")):
            assert "USER marquee" in target


def test_each_image_is_built_once_and_compiled_loops_outlive_the_containers_that_run_them(
    compose: dict[str, Any],
) -> None:
    built = {name: service["image"] for name, service in compose["services"].items() if "build" in service}
    assert built == {"schema": "marquee-serving:0.1.0", "airflow-schema": "marquee-batch:0.1.0"}
    for name, service in compose["services"].items():
        kept = service.get("environment", {}).get("NUMBA_CACHE_DIR")
        mounted = [volume.split(":")[1] for volume in service.get("volumes", [])]
        assert kept is None or any(Path(kept).is_relative_to(folder) for folder in mounted), name
    assert "NUMBA_CACHE_DIR" in compose["services"]["api"]["environment"]


@pytest.mark.parametrize(
    ("stage", "starts"),
    [
        ("batch", ["-c", "from training.code_version import code_version; assert code_version().startswith('0.')"]),
        ("batch", ["-m", "training", "--help"]),
        ("batch", ["-m", "features", "embed", "--help"]),
        ("serving", ["-m", "serving", "--help"]),
        ("serving", ["-m", "features", "land", "--help"]),
        ("serving", ["-c", "import ops.compose.landing_health"]),
    ],
)
def test_what_an_image_holds_is_enough_to_run_from(stage: str, starts: list[str], tmp_path: Path) -> None:
    _, _, steps = DOCKERFILE.read_text(encoding="utf-8").partition(f"FROM base AS {stage}\n")
    for source, target in re.findall(r"^COPY (?!--from)(\S+) (\S+)$", steps.partition("\nFROM ")[0], re.MULTILINE):
        place = tmp_path / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / source, place)
    done = subprocess.run(
        [sys.executable, "-P", *starts],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_secret_it_asks_for_is_one_that_compose_env_writes() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text(encoding="utf-8")))
    assert asked
    assert asked <= set(variables(Secrets()))


def test_every_file_it_and_the_dockerfile_name_exists_and_reaches_the_builder(compose: dict[str, Any]) -> None:
    mounts = [volume for service in compose["services"].values() for volume in service.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"]
    assert all((ROOT / name).exists() for name in [*files, *copied])
    assert all(any(Path(name).is_relative_to(entry) for entry in let_in) for name in copied)
    named = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert named == set(compose["volumes"])


def test_services_wait_for_what_the_local_stack_waits_for(
    compose: dict[str, Any], local: dict[str, Service], stack: Stack
) -> None:
    needed = {name: service.depends_on for name, service in local.items()}
    needed |= {task.name: task.depends_on for task in plan.tasks(stack)}
    for name, service in compose["services"].items():
        waits = service.get("depends_on", {})
        wanted = {"postgres" if other == "databases" else other for other in needed.get(name, ())}
        assert wanted <= set(waits), name
        for other, how in waits.items():
            assert how["condition"] == ("service_completed_successfully" if other in ONE_OFF else "service_healthy")
