"""What rankers are fitted on: bounded groups on disk, binned once for as many fits as are tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from features.contracts.errors import ContractError
from features.contracts.spec import FeatureSpec
from training.config import TrainingConfig
from training.group_file import GroupFile, RowBatches
from training.groups import Group, with_fewer_negatives

BINARY: Final = "binary"
Binned = tuple[lgb.Dataset, lgb.Dataset]
"""What is learned from, and what trees are counted on."""
_HIGHEST_GRADE: Final = 8
_FEWEST_NEGATIVES: Final = 20


@dataclass(frozen=True, eq=False)
class RankerData:
    """Groups of earlier moments to learn from, and of a later one by which trees are counted and objectives chosen.

    Attributes
    ----------
    earlier, later
        Groups with something liked, and as many of their other candidates as the configuration allows.
    validation
        All groups of the later moment, whole.
    budgets
        Candidates of each source, as the groups were made.
    spec
        Names of the groups' columns.
    """

    earlier: GroupFile
    later: GroupFile
    validation: Sequence[Group]
    budgets: Mapping[str, int]
    spec: FeatureSpec
    _binned: dict[str, Binned] = field(default_factory=dict, init=False)

    @property
    def n_rows(self) -> int:
        """Return the number of candidates learned from in the end."""
        return self.earlier.n_rows + self.later.n_rows

    @property
    def n_groups(self) -> int:
        """Return the number of groups learned from in the end."""
        return len(self.earlier) + len(self.later)

    def binned_for(self, objectives: Sequence[str], threads: int) -> Mapping[str, Binned]:
        """Return the earlier and the later groups as each objective reads them, in the bins of the earlier.

        Kept for as many fits as are tried. Each objective has its own: two that are fitted at a time share nothing.
        """
        if missing := [name for name in objectives if name not in self._binned]:
            learned = binned(self.earlier, self.spec, missing, threads)
            stop = binned(self.later, self.spec, missing, threads, reference=learned[0])
            self._binned.update(zip(missing, zip(learned, stop, strict=True), strict=True))
        return {name: self._binned[name] for name in objectives}

    def everything(self) -> GroupFile:
        """Return the later and the earlier groups together."""
        return GroupFile(chain(self.later, self.earlier))


def ranker_data(
    fit: Sequence[Group],
    validation: Sequence[Group],
    config: TrainingConfig,
    budgets: Mapping[str, int],
    spec: FeatureSpec,
) -> RankerData:
    """Return what rankers of any settings are fitted on; only `rows` and the seed of a configuration matter here.

    Raises
    ------
    ContractError
        If no group of the earlier moments, or none of the later one, holds anything that was liked.
    """
    rng = np.random.default_rng(config.seed)
    earlier, later = _bounded(fit, config.ranker.rows, rng), _bounded(validation, config.ranker.rows, rng)
    if not (len(earlier) and len(later)):
        raise ContractError(
            f"of {len(fit)} lists that a ranker learns from {len(earlier)} hold anything that was liked next, and of "
            f"{len(validation)} that validate it {len(later)}: both need some, that is users with five or more "
            "interactions, who liked what others had, too. Train on more of these."
        )
    return RankerData(earlier, later, validation, budgets, spec)


def levels(gain: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return relevance grades: 0 for no liking, 1 for the least, one more for each doubling.

    >>> levels(np.array([0, 0.25, 0.3, 1.0], np.float32))
    array([0., 1., 1., 3.], dtype=float32)
    """
    liked = gain > 0
    grade = np.zeros(len(gain), dtype=np.float32)
    if liked.any():
        grade[liked] = 1 + np.floor(np.log2(gain[liked] / gain[liked].min()) + 1e-6)
    return np.minimum(grade, _HIGHEST_GRADE)


def _bounded(groups: Sequence[Group], rows: int, rng: np.random.Generator) -> GroupFile:
    """Return the groups that have something liked, with as many of their other candidates as fit into half the rows."""
    useful = sum(bool(group.hit.any()) for group in groups)
    return GroupFile(with_fewer_negatives(groups, max(rows // 2 // max(useful, 1), _FEWEST_NEGATIVES), rng))


def binned(
    groups: GroupFile,
    spec: FeatureSpec,
    objectives: Sequence[str],
    threads: int,
    reference: lgb.Dataset | None = None,
) -> list[lgb.Dataset]:
    """Return groups for each fit as its objective reads them: bins are made once, copied in a twentieth of the time."""
    grade = levels(groups.gain)
    made = lgb.Dataset(
        RowBatches(groups),
        label=grade,
        group=groups.sizes,
        feature_name=list(spec.names),
        reference=reference,
        params={"feature_pre_filter": False, "num_threads": threads, "verbose": -1},
    ).construct()
    copies = [
        made.subset(np.arange(len(grade))).construct()  # type: ignore[arg-type]  # takes arrays
        for _ in objectives[1:]
    ]
    return [_labelled(data, name, grade, reference) for name, data in zip(objectives, (made, *copies), strict=True)]


def _labelled(
    data: lgb.Dataset, objective: str, grade: npt.NDArray[np.float32], reference: lgb.Dataset | None
) -> lgb.Dataset:
    """Return the data labelled by grades, or, for `BINARY`, by whether something was liked, weighed by the grade."""
    if objective != BINARY:
        return data
    if reference is None:
        data.set_weight(np.maximum(grade, 1))
    return data.set_label((grade > 0).astype(np.float32))
