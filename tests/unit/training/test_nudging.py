"""After a move the server is asked to look; a move does not depend on whether it hears."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pydantic import AnyUrl, SecretStr

from features.settings import Settings
from training.nudging import nudge

PLAIN = Settings(
    database_url=SecretStr("postgresql://nobody:x@127.0.0.1:1/nothing"), kafka_bootstrap_servers="127.0.0.1:1"
)


def of(address: str, token: str) -> Settings:
    """Return settings with a server's address and a token for it."""
    return PLAIN.model_copy(update={"api_url": AnyUrl(address), "admin_token": SecretStr(token)})


Asked = list[tuple[str, str | None]]


@pytest.fixture
def server() -> Iterator[tuple[str, Asked]]:
    """Yield the address of a server that refuses everything, and what it was asked, with which token."""
    asked: Asked = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's name
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()


def test_the_server_is_asked_with_the_token(server: tuple[str, Asked]) -> None:
    address, asked = server
    nudge(of(address, "let-me-in"))
    assert asked == [("/model/reload", "Bearer let-me-in")]


def test_a_server_that_is_away_is_no_error() -> None:
    nudge(of("http://127.0.0.1:1", "let-me-in"))


def test_without_a_token_nobody_is_asked(server: tuple[str, Asked]) -> None:
    address, asked = server
    nudge(of(address, ""))
    assert asked == []
