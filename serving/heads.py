"""HEAD, as RFC 9110 wants it of every path that answers GET: what GET would say, without the body."""

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.shedding import LISTS, kind_of


class HeadMiddleware:
    """Answers HEAD as GET, whose body the server then leaves out; the framework's routes know nothing of it.

    Lists are left out, to be refused with 405: one that is made counts as shown, and nobody would have seen it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or kind_of("GET", scope["path"]) == LISTS:
            await self.app(scope, receive, send)
            return
        # A scope of its own: by the method in the caller's one the server knows that it must not send the body.
        asked = {**scope, "method": "GET"}
        try:
            await self.app(asked, receive, send)
        finally:
            if "route" in asked:  # for metrics
                scope["route"] = asked["route"]
