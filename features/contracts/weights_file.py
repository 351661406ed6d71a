"""The file of action weights (`MARQUEE_ACTION_WEIGHTS`): what it says goes before what is found from the data.

actions:
  purchase: {rule: constant, base: 4, strong: true}
  skip: {rule: constant, base: -1}
rating_scale: 10
rating_threshold: 0.7
rating_dislike: 0.3
rare_weighs_more: false
below_clicks: false
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import yaml
from msgspec import Meta

from features.contracts.errors import ContractError
from features.contracts.weights import Rule

Share = Annotated[float, Meta(ge=0, le=1)]
_LARGEST_BASE: Final = 100.0


class SaidAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one action weighs: as `features.contracts.weights.ActionWeight`."""

    rule: Rule
    base: Annotated[float, Meta(ge=-_LARGEST_BASE, le=_LARGEST_BASE)]
    strong: bool = False


class SaidWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of weights says; what it leaves out is found from the data.

    Attributes
    ----------
    actions
        Weights of actions, known ones or others.
    rating_scale
        The largest rating that can be given.
    rating_threshold, rating_dislike
        Shares of the scale from which on a rating shows liking, and up to which it shows dislike (0: none does).
    rare_weighs_more
        Whether other actions are weighed by how rare they are.
    below_clicks
        Whether items of a logged list that stand below its last click count as skipped, as those above it do. On
        ranklens lists (24 items at a glance) both ways gave the same quality; for long lists read from above say false.
    """

    actions: dict[str, SaidAction] = {}
    rating_scale: Annotated[float, Meta(gt=0)] | None = None
    rating_threshold: Share | None = None
    rating_dislike: Share | None = None
    rare_weighs_more: bool = True
    below_clicks: bool = True

    def __post_init__(self) -> None:
        """Check that no rating can show both."""
        threshold = 0.6 if self.rating_threshold is None else self.rating_threshold
        dislike = 0.4 if self.rating_dislike is None else self.rating_dislike
        if dislike >= threshold:
            raise ValueError(f"rating_dislike {dislike} is not below rating_threshold {threshold}; lower it, 0 = none")


def load_weights(path: Path | None) -> SaidWeights:
    """Return what a file says; nothing if none is named.

    Raises
    ------
    ContractError
        Naming the file, the field and what is wrong with it.
    """
    if path is None:
        return SaidWeights()
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, SaidWeights)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ContractError(
            f"action weights {path}: {error}; expected YAML such as "
            "`actions: {purchase: {rule: constant, base: 4, strong: true}}`"
        ) from error
