"""Services that a module may stop, kill and freeze; Postgres and Kafka also behind proxies that make links bad."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

import psutil
import psycopg
from psycopg import sql
from pydantic import SecretStr

from features.settings import Settings
from ops.local.account import run_as, service_account
from ops.local.databases import create_databases
from ops.local.direct import running
from ops.local.errors import StackError
from ops.local.layout import Layout
from ops.local.ports import LOOPBACK, free_ports
from ops.local.processes import end, stack_processes
from ops.local.service import Service
from ops.local.services import kafka, mlflow, postgres
from ops.local.stack import Stack
from ops.local.state import Secrets, State
from tests.support.commands import run_command
from tests.support.proxy import Proxy

SMALL: Final = {"max_wal_size": "64MB", "min_wal_size": "32MB", "shared_buffers": "64MB"}
DISK_BYTES: Final = 600 * 2**20
"""Size of the file system that Postgres lies on where one can be mounted: some databases and their logs."""
LANDING: Final = "marquee-landing"
END_SESSIONS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(application_name, %s) "
    "AND pid <> pg_backend_pid()"
)
QUIET_LOOKS: Final = 10
"""Looks in a row at which sessions must have been away: one that is being opened has no name yet."""
STARTS: Final = 5
"""Attempts to start a killed Postgres: the first may find that its orphans have not ended yet."""


class Services:
    """Own services in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.stack = Stack(Layout(folder / "run", folder / "mlruns"), State(free_ports(), Secrets()))
        self.stack.layout.run_dir.mkdir()
        ports = self.stack.state.ports
        self.postgres_proxy = Proxy(ports.postgres)
        # Brokers tell clients their address: those who come by the second listener are told the proxy's.
        self._behind_proxy = ports.api
        self.kafka_proxy = Proxy(self._behind_proxy)
        self._held: dict[str, ExitStack] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = count(1)
        self.mounted = False

    def close(self) -> None:
        """Stop everything."""
        for name in list(self._held):
            self.stop(name)
        self.postgres_proxy.close()
        self.kafka_proxy.close()
        end(stack_processes(self.stack.layout))
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.stack.layout.run_dir / "postgres")], check=True)

    def start(self, name: str) -> None:
        """Start a service and return once it is ready."""
        pause = threading.Event()
        for attempt in range(STARTS):
            held = ExitStack()
            try:
                self._processes[name] = held.enter_context(running(self._service(name), self.stack))
            except StackError:
                if attempt == STARTS - 1:
                    raise
                pause.wait(0.5)
            else:
                self._held[name] = held
                return

    def stop(self, name: str) -> None:
        """Stop a service as the stack would."""
        self._held.pop(name).close()

    def kill(self, name: str) -> None:
        """Kill a service's main process by SIGKILL."""
        self._processes[name].kill()
        self._processes[name].wait()
        self._held.pop(name).close()

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Freeze a service's processes for as long as the block runs."""
        processes = self.processes(name)
        for process in processes:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)

    def processes(self, name: str) -> list[psutil.Process]:
        """Return a service's main process and all below it."""
        main = psutil.Process(self._processes[name].pid)
        return [main, *main.children(recursive=True)]

    def runs(self, name: str) -> bool:
        """Return whether a service's main process lives; one that died must be started anew by `start`."""
        if self._processes[name].poll() is None:
            return True
        if name in self._held:
            self._held.pop(name).close()
        return False

    @contextmanager
    def crowded(self, settings: Settings, ending: str = LANDING) -> Iterator[None]:
        """Leave Postgres no connection to give, for as long as the block runs.

        Sessions whose name begins with `ending`, landing's, lose those that they had.
        """
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            taken = list(_every_connection(settings))
            # What they leave is taken at once; whoever was quicker to connect anew is ended again, until nobody is.
            quiet, pause = 0, threading.Event()
            while quiet < QUIET_LOOKS:
                quiet = 0 if admin.execute(END_SESSIONS, [ending]).rowcount else quiet + 1
                taken += _every_connection(settings)
                pause.wait(0.02)
            try:
                yield
            finally:
                for connection in taken:
                    connection.close()

    @contextmanager
    def without_connections(self) -> Iterator[None]:
        """Let landing's role have no connection for as long as the block runs."""
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute("ALTER ROLE marquee CONNECTION LIMIT 0")
            admin.execute(END_SESSIONS, [LANDING])
            try:
                yield
            finally:
                admin.execute("ALTER ROLE marquee CONNECTION LIMIT -1")

    @contextmanager
    def read_only(self, settings: Settings, ending: str) -> Iterator[None]:
        """Let nothing be written to a database for as long as the block runs, as on a standby.

        Sessions whose name begins with `ending` must connect anew, as after a failover.
        """
        database = sql.Identifier(settings.database_url.get_secret_value().rsplit("/", 1)[1])
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
            admin.execute(END_SESSIONS, [ending])
            try:
                yield
            finally:
                admin.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(database))
                admin.execute(END_SESSIONS, [ending])

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Leave Postgres no byte to write for as long as the block runs.

        Where a file system can be mounted it is filled; else no file may grow past what the smallest of a log takes.
        """
        if self.mounted:
            ballast = self.stack.layout.run_dir / "postgres" / "ballast"
            _fill(ballast)
            try:
                yield
            finally:
                ballast.unlink()
        else:
            with self.small_files():
                yield

    @contextmanager
    def small_files(self, limit: int = 2**20) -> Iterator[None]:
        """Let no process of Postgres write beyond so many bytes of a file for as long as the block runs.

        Then it is started anew. It crashes and recovers again and again; if the limit is lifted from one process after
        the other meanwhile, Postgres 18 may go on without a recovery, and with a lock that a dead process holds.
        """
        self._limit_files(limit)
        try:
            yield
        finally:
            if self.runs("postgres"):
                self.kill("postgres")
            self.start("postgres")

    def _limit_files(self, limit: int) -> None:
        """Set the soft limit, as the account that runs Postgres: not even root may everywhere."""
        for process in self.processes("postgres"):
            command = ["prlimit", f"--pid={process.pid}", f"--fsize={limit}:"]
            done = subprocess.run(command, check=False, **run_as(service_account()))
            if done.returncode != 0 and process.is_running():
                raise StackError(f"{' '.join(command)} ended with {done.returncode}")

    def mount(self) -> None:
        """Let Postgres lie on a small file system of its own, if this account may mount one."""
        home = self.stack.layout.run_dir / "postgres"
        home.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "marquee-faults", str(home)]
        done = subprocess.run(command, capture_output=True, check=False)
        self.mounted = done.returncode == 0

    @property
    def admin_url(self) -> str:
        """Return the superuser's URL."""
        return postgres.admin_url(self.stack)

    def migrate(self) -> None:
        """Make the databases, Marquee's with its tables."""
        create_databases(self.stack)
        run_command("features", "migrate", environment=self.stack.process_environment()).check_returncode()

    def new_settings(self) -> tuple[Settings, Settings]:
        """Return settings of a fresh database, and the same by way of the proxies."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.admin_url, autocommit=True) as admin:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE marquee OWNER marquee")
            admin.execute(statement.format(sql.Identifier(name)))
        ports = self.stack.state.ports
        url = self.stack.database_url("marquee").rsplit("/", 1)[0] + f"/{name}"
        via = url.replace(f":{ports.postgres}/", f":{self.postgres_proxy.port}/")
        return _settings(url, ports.kafka), _settings(via, self.kafka_proxy.port)

    def _service(self, name: str) -> Service:
        match name:
            case "postgres":
                return postgres.service(self.stack, SMALL)
            case "kafka":
                return kafka.service(self.stack, self._listeners)
            case _:
                return mlflow.service(self.stack)

    @property
    def _listeners(self) -> Mapping[str, str]:
        ports = self.stack.state.ports
        plain = f"PLAINTEXT://{LOOPBACK}:{ports.kafka}"
        controller = f"CONTROLLER://{LOOPBACK}:{ports.kafka_controller}"
        return {
            "listeners": f"{plain},PROXIED://{LOOPBACK}:{self._behind_proxy},{controller}",
            "advertised.listeners": f"{plain},PROXIED://{LOOPBACK}:{self.kafka_proxy.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        }


def _every_connection(settings: Settings) -> Iterator[psycopg.Connection]:
    """Yield connections until Postgres gives no more."""
    try:
        while True:
            yield psycopg.connect(settings.database_url.get_secret_value())
    except psycopg.OperationalError as error:
        if "slots" not in str(error) and "too many" not in str(error):
            raise


def _fill(file: Path) -> None:
    """Write zeros until no byte is left."""
    zeros = bytes(2**20)
    with file.open("wb", buffering=0) as ballast:
        for size in (2**20, 4096):
            try:
                while ballast.write(zeros[:size]):
                    continue
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def _settings(url: str, kafka_port: int) -> Settings:
    return Settings(database_url=SecretStr(url), kafka_bootstrap_servers=f"{LOOPBACK}:{kafka_port}")


@contextmanager
def own_services(*, kafka: bool = True) -> Iterator[Services]:
    """Yield running, migrated services of the caller's own, Kafka among them or not."""
    folder = Path(tempfile.mkdtemp(prefix="marquee-faults-"))
    folder.chmod(0o711)  # Postgres runs as another account where tests run as root
    services = Services(folder)
    try:
        services.mount()
        services.start("postgres")
        services.migrate()
        if kafka:
            services.start("kafka")
        yield services
    finally:
        services.close()
        shutil.rmtree(folder, ignore_errors=True)
