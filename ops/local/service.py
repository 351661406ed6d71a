"""A service as data: what to run, what must run before, and how to see that it is ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.local.layout import ROOT

Probe = Callable[[float], None]  # of the process's start (seconds since 1970); raises NotReadyError


@dataclass(frozen=True)
class Service:
    """One long-running process."""

    name: str
    argv: tuple[str, ...]
    ready: Probe
    depends_on: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = ROOT
    user: str | None = None
    port: int | None = None
    ready_within_s: float = 240.0
    stop_signal: str = "TERM"
    stop_within_s: float = 30.0
    signal_group: bool = True
    prepare: Callable[[], None] | None = None  # files that must exist before the process starts


@dataclass(frozen=True)
class Task:
    """One step that runs to its end, each time the stack comes up; it must be safe to repeat."""

    name: str
    run: Callable[[], None]
    depends_on: tuple[str, ...] = ()
