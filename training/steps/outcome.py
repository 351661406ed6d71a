"""How a training run ended, from the records that its steps left: what is announced of it."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from training.steps.state import PROMOTED, SKIPPED, STEPS, RunFolder

Status = Literal["success", "refused", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """Status of a run, one line why, its metrics, and the version that it registered."""

    status: Status
    why: str
    metrics: dict[str, float] = field(default_factory=dict)
    version: str | None = None

    def announcement(self, model_name: str) -> list[str]:
        """Return the arguments by which `python -m features announce completed` tells the world."""
        arguments = ["--status", self.status, "--metrics", msgspec.json.encode(self.metrics).decode()]
        if self.version is not None:
            arguments += ["--artifact-path", f"models:/{model_name}/{self.version}"]
        return arguments


def run_outcome(run: RunFolder) -> RunOutcome:
    """Return how a run ended; one that did not reach its last step has failed."""
    records = {name: record for name in STEPS if (record := run.record(name)) is not None}
    for record in records.values():
        if record.outcome == SKIPPED:
            return RunOutcome("skipped", record.summary)
    metrics = records["evaluate"].results["metrics"] if "evaluate" in records else {}
    version = str(records["register"].results["version"]) if "register" in records else None
    missing = next((name for name in STEPS if name not in records), None)
    if missing is not None:
        return RunOutcome("failed", f"step {missing!r} did not finish", metrics, version)
    gate, promote = records["gate"], records["promote"]
    if promote.outcome == PROMOTED:
        return RunOutcome("success", promote.summary, metrics, version)
    return RunOutcome("success" if gate.outcome == "promoted" else "refused", gate.summary, metrics, version)
