"""Telling a server that the alias has moved: it looks by itself every two seconds, and at once when it is asked."""

from typing import Final

import requests
import structlog

from features.settings import Settings

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 5.0


def nudge(settings: Settings) -> None:
    """Let the server at `MARQUEE_API_URL` look at the alias now, and with it all processes of its machine.

    Whatever comes of it, the move is done, and servers find it by themselves.
    """
    token = settings.admin_token.get_secret_value()
    if not token:
        return
    address = f"{str(settings.api_url).rstrip('/')}/model/reload"
    try:
        requests.post(address, headers={"Authorization": f"Bearer {token}"}, timeout=_PATIENCE_S).raise_for_status()
    except requests.RequestException as error:
        log.info("server not told, it looks by itself", address=address, error=type(error).__name__)
