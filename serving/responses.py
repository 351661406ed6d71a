"""JSON on the wire, by orjson."""

from typing import Any

import orjson
from starlette.responses import Response


class JsonResponse(Response):
    """A response whose content is plain Python or NumPy data, written by orjson; NaN becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as UTF-8 JSON."""
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def accepted(results: list[dict[str, Any]]) -> JsonResponse:
    """Return the 202 that says of each event under which id it was accepted."""
    return JsonResponse({"results": results}, status_code=202)
