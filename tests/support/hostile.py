"""Hostile requests as bytes on the wire: made from a server's own OpenAPI document, bent in every way; by a seed."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_from_bytes

TEXTS: Sequence[str] = (
    "",
    "u1",
    "'; DROP TABLE interactions; --",
    "1 OR 1=1",
    "$1",
    "%s",
    ":user_id",
    "{user_id}",
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0010ffff",
    "\u202e\u200d\ufeff",
    "ﷺ" * 50,
    "e\u0301" * 128,
    "a" * 256,
    "a" * 257,
    "x" * 70_000,
    "../../../etc/passwd",
    "..",
    "/",
    "//",
    "a/similar",
    "\r\nX-Evil: 1",
    "<script>",
    "null",
    "NaN",
    "-0",
    "٣",
    "true",
    "[]",
    "\x7f\x1b[2J",
)
NUMBERS: Sequence[Any] = (
    *(0, -1, 1, 500, 501, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400),
    *(0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), float("-inf")),
)
MOMENTS: Sequence[Any] = (
    "2026-02-30T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999-23:59",
    "0001-01-01T00:00:00+23:59",
    "1969-12-31T23:59:59Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T23:59:60Z",
    "2026-01-01",
    "now",
    1e18,
    -1e300,
)
RAW_PARTS: Sequence[bytes] = (
    b"%ff%fe",
    b"%ed%a0%80",
    b"%c0%80",
    b"%",
    b"%zz",
    b"%u0041",
    b"%2500",
    b"%25%32%46",
    b"+;,:@&=",
)
RAW_BODIES: Sequence[bytes] = (
    *(b"", b"\0", b"{", b"}", b"null", b"[]", b"[[]]", b'"', b"0", b"-", b"NaN", b"[NaN]", b"1e999", b"\xff\xfe{\0}\0"),
    *(b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b'{"k":1}{"k":2}', b'{"user_id":"\xff"}', b'{"user_id":"\xed\xa0\x80"}'),
    *(b'{"user_id":"\\ud800"}', b'{"user_id":"\\u0000"}', b'{"k":1' + b"0" * 5000 + b"}", b'{"k":-1e-5000}'),
    *(b"[" * 50_000, b'{"a":' * 20_000, b"[" * 40 + b"]" * 40, b'{"context":' * 33 + b"1" + b"}" * 33),
    *(
        b"user_id=u1&k=3",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        b" " * 100_000,
        b"[" + b"{}," * 1500 + b"{}]",
    ),
)
METHODS: Sequence[bytes] = (
    b"GET",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"TRACE",
    b"PROPFIND",
    b"get",
)
TYPES: Sequence[bytes] = (
    *(b"application/json", b"application/json; charset=utf-16", b"text/plain", b"multipart/form-data; boundary=x"),
    *(b"application/x-www-form-urlencoded", b"\xff/\xfe", b"", b"application/json" * 500),
)


@dataclass
class Target:
    """One operation of the document: its method, its path, and bodies that it takes."""

    method: str
    path: str
    parameters: Sequence[str]
    bodies: Sequence[Any]


@dataclass
class Shot:
    """A request as bytes; `whole` where the server can know that no more of it comes."""

    raw: bytes
    whole: bool = True


def targets_of(document: Mapping[str, Any]) -> list[Target]:
    """Return all operations of an OpenAPI document."""
    return [
        Target(
            method.upper(),
            path,
            [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"],
            [
                example["value"]
                for content in operation.get("requestBody", {"content": {}})["content"].values()
                for example in content.get("examples", {}).values()
            ],
        )
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


class Hostility:
    """Makes requests, always the same ones for a seed."""

    def __init__(self, targets: Sequence[Target], token: str, seed: int) -> None:
        self._targets = targets
        self._token = token
        self._random = random.Random(seed)  # noqa: S311  # of a test

    def shot(self) -> Shot:
        """Return the next request."""
        make: Callable[[], Shot] = self._random.choices(
            (self._plain, self._broken_body, self._broken_head), weights=(18, 1, 1)
        )[0]
        return make()

    def _plain(self) -> Shot:
        """Return a request whose framing is right, and nothing else need be."""
        target = self._random.choice(self._targets)
        method = target.method.encode() if self._random.random() < 0.9 else self._random.choice(METHODS)
        body = self._body(target) if target.bodies or self._random.random() < 0.1 else b""
        return Shot(self._head(method, self._url(target), len(body)) + body)

    def _broken_body(self) -> Shot:
        """Return a request whose body is not framed as its head says."""
        target = self._random.choice([one for one in self._targets if one.bodies])
        body = self._body(target)[:1000]
        framed = self._random.choice(
            (
                (b"Transfer-Encoding: chunked", b"zz\r\n" + body),
                (b"Transfer-Encoding: chunked", b"5\r\nab"),
                (b"Transfer-Encoding: chunked", b"-5\r\n" + body + b"\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: chunked", b"ffffffffffffffffff\r\n" + body),
                (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
                (b"Transfer-Encoding: gzip, chunked", b"3\r\nabc\r\n0\r\n\r\n"),
                (b"Transfer-Encoding: nonsense", body),
                (b"Content-Length: 99999999999999999999", body),
                (b"Content-Length: -1", body),
                (b"Content-Length: 2\r\nContent-Length: 3", body),
                (b"Content-Length: 0x10", body),
                (b"Content-Length: 5000", body[:10]),
                (b"Expect: 100-continue\r\nContent-Length: 5", b"[1,2]"),
                (b"Content-Encoding: gzip\r\nContent-Length: 4", b"\x1f\x8b\x08\x00"),
            )
        )
        head = b"%b %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%b\r\n\r\n"
        return Shot(head % (target.method.encode(), self._url(target), framed[0]) + framed[1], whole=False)

    def _broken_head(self) -> Shot:
        """Return what is no request, or an odd one."""
        url = self._url(self._random.choice(self._targets))
        return Shot(
            self._random.choice(
                (
                    b"GET " + url + b"\r\n\r\n",
                    b"GET " + url + b" HTTP/9.9\r\n\r\n",
                    b"GET " + url + b" HTTP/1.1\r\n\r\n",
                    b"GET " + url + b" HTTP/1.0\r\n\r\n",
                    b"GET http://evil.example" + url + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
                    b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
                    b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
                    b"GET " + url + b" HTTP/1.1\r\nHost: x\r\nX-Big: " + b"b" * 100_000 + b"\r\n\r\n",
                    b"GET " + url + b" HTTP/1.1\r\n" + b"X-Many: 1\r\n" * 3000 + b"\r\n",
                    b"GET /" + b"p" * 66_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                    b"GET " + url + b" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                    b"\x16\x03\x01\x02\x00\x01\x00\x01",
                    b"\0" * 100,
                    b"\r\n" * 100,
                )
            ),
            whole=False,
        )

    def _head(self, method: bytes, url: bytes, size: int) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (method, url), b"Host: x"]
        if size or method in {b"POST", b"PATCH", b"PUT"}:
            lines += [b"Content-Length: %d" % size, b"Content-Type: " + self._random.choice(TYPES)]
        if self._random.random() < 0.3:
            lines.append(
                b"Authorization: Bearer " + (self._token.encode() if self._random.random() < 0.5 else b"\xff\xfe")
            )
        for name in (b"X-Deadline-Ms", b"Idempotency-Key", b"X-Request-Id"):
            if self._random.random() < 0.15:
                lines.append(b"%b: %b" % (name, self._header_value()))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _header_value(self) -> bytes:
        value = self._text() if self._random.random() < 0.5 else str(self._number())
        raw = value[:5000].encode("utf-8", "surrogatepass")
        return bytes(byte for byte in raw if byte >= 32 and byte != 127)

    def _url(self, target: Target) -> bytes:
        path = target.path.encode()
        while b"{" in path:
            start, end = path.index(b"{"), path.index(b"}")
            path = path[:start] + self._path_part() + path[end + 1 :]
        names = [name for name in target.parameters if self._random.random() < 0.4]
        names += [name for name in names if self._random.random() < 0.1]
        if names and self._random.random() < 0.02:
            names *= 600
        if not names:
            return path[:60_000]
        return (path + b"?" + b"&".join(quote(name).encode() + b"=" + self._query_value() for name in names))[:60_000]

    def _path_part(self) -> bytes:
        if self._random.random() < 0.2:
            return self._random.choice(RAW_PARTS)
        return quote_from_bytes(self._text()[:15_000].encode("utf-8", "surrogatepass"), safe="").encode() or b"u"

    def _query_value(self) -> bytes:
        if self._random.random() < 0.1:
            return self._random.choice(RAW_PARTS)
        value = str(self._number()) if self._random.random() < 0.5 else self._text()
        return quote_from_bytes(value[:3000].encode("utf-8", "surrogatepass"), safe="").encode()

    def _body(self, target: Target) -> bytes:
        if not target.bodies or self._random.random() < 0.2:
            return self._random.choice(RAW_BODIES)
        bent = self._bent(self._random.choice(target.bodies))
        return json.dumps(bent, ensure_ascii=self._random.random() < 0.5).encode("utf-8", "surrogatepass")

    def _bent(self, value: Any) -> Any:
        """Return JSON data of which some is replaced, left out or added."""
        if self._random.random() < 0.2:
            return self._odd()
        if isinstance(value, dict):
            bent = {name: self._bent(child) for name, child in value.items() if self._random.random() < 0.95}
            return bent | ({self._text()[:300]: self._odd()} if self._random.random() < 0.05 else {})
        if isinstance(value, list):
            bent_list = [self._bent(child) for child in value]
            return bent_list * self._random.choice((1, 1, 1, 2, 1100 if len(value) == 1 else 1))
        return value

    def _odd(self) -> Any:
        kind = self._random.randrange(6)
        if kind == 0:
            return self._number()
        if kind == 1:
            return self._text()
        if kind == 2:
            return self._random.choice(MOMENTS)
        return self._random.choice((None, True, False, [], {}, [[]], {"": {}}, [None], {"a": [{}]}, ["x"] * 1001))

    def _text(self) -> str:
        return self._random.choice(TEXTS)

    def _number(self) -> Any:
        return self._random.choice(NUMBERS)


@dataclass
class Outcome:
    """What came of many requests: answers by status (0 = closed without one), and what must not happen."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Request and answer where the server failed, or did not answer in time."""


async def fire(host: str, port: int, shots: Sequence[Shot], lanes: int = 8, patience_s: float = 30) -> Outcome:
    """Return what came of requests that are sent over several connections at once."""
    outcome, waiting = Outcome(), iter(shots)

    async def lane() -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for shot in waiting:
            if connection is None:
                connection = await asyncio.open_connection(host, port)
            head, body = b"", b""
            try:
                async with asyncio.timeout(patience_s):
                    head, body = await _exchange(*connection, shot)
            except TimeoutError:
                outcome.failures.append((shot.raw[:2000], b"no answer in time"))
            status = int(head.split(b" ", 2)[1]) if head else 0
            outcome.statuses[status] += 1
            if status >= 500 and status != 503:
                outcome.failures.append((shot.raw[:2000], head + body[:2000]))
            if not head or not shot.whole or b"connection: close" in head.lower():
                connection[1].close()
                connection = None
        if connection is not None:
            connection[1].close()

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())
    return outcome


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shot: Shot) -> tuple[bytes, bytes]:
    """Return head and body of the answer, both empty where the connection ends without one."""
    try:
        writer.write(shot.raw)
        if not shot.whole:
            writer.write_eof()
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head = await reader.readuntil(b"\r\n\r\n")
        if shot.raw.startswith(b"HEAD "):
            return head, b""
        return head, await _body(reader, head)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b"", b""


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    lower = head.lower()
    if b"content-length:" in lower:
        return await reader.readexactly(int(lower.split(b"content-length:")[1].split(b"\r\n")[0]))
    if b"transfer-encoding: chunked" not in lower:
        return b""
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body
