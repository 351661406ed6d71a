"""Our own commands, run as a user would."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from features.contracts.errors import MarqueeError
from ops.local.layout import ROOT


class CommandError(MarqueeError):
    """A command of ours failed."""


def run(arguments: list[str], settings: Mapping[str, str], *, tolerate: tuple[int, ...] = (0,)) -> str:
    """Return what ``python -m ARGUMENTS`` printed.

    Raises
    ------
    CommandError
        Where it ends with another code than those tolerated, with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in tolerate:
        raise CommandError(f"`python -m {' '.join(arguments)}` failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def partitions(settings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the account of every partition, from ``python -m features reconcile --json``."""
    shown = run(["features", "reconcile", "--json"], settings, tolerate=(0, 1))
    answer: list[dict[str, Any]] = orjson.loads(shown)["partitions"]
    return answer
