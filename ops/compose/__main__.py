"""``python -m ops.compose``: write the random secrets that docker-compose.yml asks for to `.env`, once."""

import sys
from dataclasses import asdict

from ops.local.layout import ROOT
from ops.local.state import Secrets, write_private

ENV_FILE = ROOT / ".env"


def variables(secrets: Secrets) -> dict[str, str]:
    """Return variable -> value: each secret of a stack under its name in capitals."""
    return {name.upper(): value for name, value in asdict(secrets).items()}


def main() -> int:
    """Return the exit code; an `.env` that is there stays as it is, since the volumes were made with its passwords."""
    if ENV_FILE.exists():
        print(f"{ENV_FILE} is there already and stays as it is")
        return 0
    lines = [f"{name}={value}" for name, value in variables(Secrets()).items()]
    write_private(ENV_FILE, "\n".join(lines) + "\n")
    print(f"wrote {ENV_FILE}; `docker compose up --build --wait` starts the stack")
    return 0


if __name__ == "__main__":
    sys.exit(main())
