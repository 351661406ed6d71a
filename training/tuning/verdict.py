"""Whether tuned settings are taken: only where they beat the default on users that no trial was chosen by."""

from dataclasses import dataclass
from typing import Any, Final

from training.metrics import RESAMPLES, Floats
from training.resampling import resampled_means

CONFIDENCE: Final = 0.9
"""Share of resamples, at least, in which tuned settings must do better than the default."""
FEWEST_USERS: Final = 50
"""With fewer users no difference is believed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Mean NDCG@10 of the default and of tuned settings on the same users, and what follows from it.

    `sure` is the share of paired bootstrap resamples in which the tuned settings do better.
    """

    users: int
    default: float
    tuned: float
    sure: float

    @property
    def taken(self) -> bool:
        """Return whether the tuned settings serve."""
        return self.users >= FEWEST_USERS and self.sure >= CONFIDENCE

    @property
    def reason(self) -> str:
        """Return one line for people."""
        compared = f"NDCG@10 {self.tuned:.4f} against {self.default:.4f} by default"
        better = f"better in {self.sure:.0%} of resamples of {self.users} users kept aside"
        needed = f"{CONFIDENCE:.0%} of at least {FEWEST_USERS} users needed"
        return f"tuned settings {'taken' if self.taken else 'not taken'}: {compared}, {better}; {needed}"

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {
            "taken": self.taken,
            "users": self.users,
            "ndcg@10_default": self.default,
            "ndcg@10_tuned": self.tuned,
            "better_in": self.sure,
            "reason": self.reason,
        }


def compare(default: Floats, tuned: Floats, seed: int) -> Verdict:
    """Return the verdict on per-user values (n_users,), paired."""
    gain = tuned - default
    if not len(gain):
        return Verdict(0, 0.0, 0.0, 0.0)
    resampled = resampled_means(gain[:, None], seed, RESAMPLES)
    return Verdict(len(gain), float(default.mean()), float(tuned.mean()), float((resampled > 0).mean()))
