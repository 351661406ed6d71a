"""``python -m ops.checks test|coverage|lint``: what the targets of these names in the Makefile run."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# Each worker has services of its own, which take processor time also while nobody asks them.
WORKERS = "3"
TYPED = ("features", "training", "serving", "dags", "ops", "tests", "benchmarks")


def _run(command: Sequence[str]) -> int:
    """Return the exit code of one tool of the environment, its output shown."""
    print("+", *command, flush=True)
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


def lint_commands() -> list[list[str]]:
    """Return the tools that must all be content."""
    typed = [name for name in TYPED if any((ROOT / name).rglob("*.py"))]
    notebooks = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.ipynb"))
    return [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", *typed],
        ["lint-imports"],
        *([["nbstripout", "--verify", *notebooks]] if notebooks else []),
    ]


def lint() -> int:
    """Run every tool, also after a failure, and return how many failed."""
    failed = [command[0] for command in lint_commands() if _run(command) != 0]
    print(f"lint: failed: {', '.join(failed)}" if failed else "lint: all clean", flush=True)
    return len(failed)


def test(arguments: Sequence[str]) -> int:
    """Run every test in random order, files side by side, and return pytest's exit code."""
    # Files go out in the order of `tests/conftest.py`, long ones first, instead of those with many tests.
    spread = ["-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"]
    return _run(["pytest", *spread, "--durations=25", *arguments])


def coverage(arguments: Sequence[str]) -> int:
    """Run every test and count which branches of our code ran; to watch them takes 1.6 times the processor."""
    return test(["--cov", "--cov-report=term", *arguments])


def main(arguments: Sequence[str]) -> int:
    """Return the exit code."""
    match arguments:
        case ["lint"]:
            return lint()
        case ["test", *rest]:
            return test(rest)
        case ["coverage", *rest]:
            return coverage(rest)
        case _:
            print("expected: python -m ops.checks lint | test [pytest's arguments] | coverage [...]", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
