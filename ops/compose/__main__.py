"""``python -m ops.compose``: write the random secrets that docker-compose.yml asks for to `.env`, each once."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict

from ops.local.layout import ROOT
from ops.local.state import Secrets, write_private

ENV_FILE = ROOT / ".env"


def variables(secrets: Secrets) -> dict[str, str]:
    """Return variable -> value: each secret of a stack under its name in capitals."""
    return {name.upper(): value for name, value in asdict(secrets).items()}


def complete(text: str) -> str:
    """Return the text of an `.env` with the secrets that it lacks; those that are there stay as they are.

    The volumes were made with them.
    """
    known = {line.partition("=")[0] for line in text.splitlines()}
    missing = [f"{name}={value}\n" for name, value in variables(Secrets()).items() if name not in known]
    return text + ("\n" if text and not text.endswith("\n") else "") + "".join(missing)


def main(arguments: Sequence[str]) -> int:
    """Return the exit code after `.env` has every secret."""
    ArgumentParser(prog="python -m ops.compose", description=__doc__).parse_args(arguments)
    before = ENV_FILE.read_text(encoding="utf-8") if ENV_FILE.exists() else ""
    after = complete(before)
    if after == before:
        print(f"{ENV_FILE} is complete and stays as it is")
        return 0
    write_private(ENV_FILE, after)
    print(f"wrote {ENV_FILE}; `docker compose up --build --wait` starts the stack")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
