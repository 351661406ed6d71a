"""Results as JSON text that every reader takes."""

import json
import math
from typing import Any


def json_text(content: Any) -> str:
    r"""Return JSON values as text, null for numbers that are none: JSON has no NaN.

    >>> json_text({"mean": float("nan")})
    '{\n "mean": null\n}\n'
    """
    return json.dumps(_known(content), indent=1, allow_nan=False) + "\n"


def _known(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _known(entry) for name, entry in content.items()}
    if isinstance(content, list | tuple):
        return [_known(entry) for entry in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
