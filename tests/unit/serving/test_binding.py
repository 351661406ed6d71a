"""Where a server of several processes cannot listen, it says so."""

import socket

import pytest

from features.settings import SettingsError
from ops.local.ports import LOOPBACK
from serving.workers import bind
from tests.support.serving_parts import NOWHERE


def test_an_address_that_is_taken_or_not_of_this_machine_is_named() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        for host, why in ((LOOPBACK, "Address already in use"), ("192.0.2.1", "Cannot assign requested address")):
            settings = NOWHERE.model_copy(update={"api_host": host, "api_port": port})
            with pytest.raises(SettingsError, match=f"cannot listen on {host}, port {port}: {why}.*MARQUEE_API_PORT"):
                bind(settings)
