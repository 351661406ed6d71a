"""What a stack keeps of itself: its ports, and the secrets made at its first start."""

import base64
import json
import os
import secrets
import tempfile
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ops.local.errors import StackError
from ops.local.ports import Ports


def _password() -> str:
    """Return 24 random bytes in characters that need no quoting anywhere."""
    return secrets.token_hex(24)


def _kafka_id() -> str:
    """Return a Kafka cluster id: a random UUID in URL-safe base64 without padding, not led by a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _fernet_key() -> str:
    """Return the key with which Airflow encrypts what it keeps of connections."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class Secrets:
    """Random values of one stack; each database role has a password of its own."""

    postgres_password: str = field(default_factory=_password, repr=False)
    marquee_password: str = field(default_factory=_password, repr=False)
    airflow_password: str = field(default_factory=_password, repr=False)
    mlflow_password: str = field(default_factory=_password, repr=False)
    airflow_login: str = field(default_factory=lambda: secrets.token_urlsafe(18).replace("-", "x"), repr=False)
    airflow_jwt: str = field(default_factory=lambda: secrets.token_hex(64), repr=False)
    airflow_fernet: str = field(default_factory=_fernet_key, repr=False)
    airflow_api_secret: str = field(default_factory=_password, repr=False)
    mlflow_secret: str = field(default_factory=_password, repr=False)
    admin_token: str = field(default_factory=_password, repr=False)
    erasure_secret: str = field(default_factory=_password, repr=False)
    kafka_cluster_id: str = field(default_factory=_kafka_id)


@dataclass(frozen=True)
class State:
    """Ports and secrets of one stack."""

    ports: Ports
    secrets: Secrets


def read_state(path: Path) -> State | None:
    """Return the kept state, None where the stack was never started; a secret that is newer than it is made now.

    Raises
    ------
    StackError
        Where the file is not what `write_state` wrote.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return State(Ports(**content["ports"]), Secrets(**content["secrets"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{path} is damaged ({error}): restore it, or stop what still runs and delete {path.parent}"
        ) from error


def write_state(path: Path, state: State) -> None:
    """Keep `state` at `path`, readable by its owner only."""
    content = {"ports": asdict(state.ports), "secrets": asdict(state.secrets)}
    write_private(path, json.dumps(content, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 600: whole or not at all, also through a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mkstemp makes mode 600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
