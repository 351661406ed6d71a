"""Where everything of one stack lies."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOCKET_PATH_LIMIT = 100  # a Unix socket's address holds 108 bytes


@dataclass(frozen=True)
class Layout:
    """The folders and files of the stack whose state is `run_dir`."""

    run_dir: Path
    artifact_root: Path = ROOT / "mlruns"

    @property
    def name(self) -> str:
        """The run folder's name without its dot; with a hash where it lies elsewhere, so that two never meet."""
        plain = self.run_dir.name.lstrip(".") or "stack"
        return plain if self.run_dir.parent == ROOT else f"{plain}-{self.digest}"

    @property
    def digest(self) -> str:
        """Eight characters that stand for the run folder's path."""
        return hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:8]

    @property
    def state_file(self) -> Path:
        """Ports and secrets, readable by their owner only."""
        return self.run_dir / "state.json"

    @property
    def env_file(self) -> Path:
        """``export`` lines that give any command the running stack."""
        return self.run_dir / "env"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.run_dir / "logs"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact root."""
        return self.artifact_root / self.name

    @property
    def supervisor_conf(self) -> Path:
        """The generated configuration of the supervisor."""
        return self.run_dir / "supervisord.conf"

    @property
    def supervisor_socket(self) -> Path:
        """The supervisor's control socket: in the run folder unless its path is too long for a socket."""
        inside = self.run_dir / "supervisor.sock"
        if len(str(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        return Path(tempfile.gettempdir()) / f"marquee-{os.getuid()}-{self.digest}.sock"


def chosen_layout() -> Layout:
    """Return the layout of the stack that ``MARQUEE_RUN_DIR`` names; unset or empty: ``.run`` in the checkout."""
    return Layout((ROOT / (os.environ.get("MARQUEE_RUN_DIR") or ".run")).resolve())
