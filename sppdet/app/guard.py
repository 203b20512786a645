"""Who may ask the page's server, and what every answer says to the browser."""

from secrets import compare_digest
from typing import Any

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sppdet.app.payloads import to_json

HOSTS = ["127.0.0.1", "localhost"]
TOKEN = "x-sppdet-token"  # the header of every request but those of the page and its parts  # nosec B105
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets nothing through to the API or the page without the token, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        app = (
            self.app if self._is_allowed(scope) else error_response(403, "open the page at the address with its token")
        )
        await app(scope, receive, send_guarded)

    def _is_allowed(self, scope: Scope) -> bool:
        if scope["path"] == "/":
            given = QueryParams(scope["query_string"]).get("token", "")
        elif scope["path"].startswith("/api/"):
            given = Headers(scope=scope).get(TOKEN, "")
        else:
            return True
        return compare_digest(given.encode(), self.token)


def json_response(value: Any, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def error_response(status: int, text: str) -> Response:
    return json_response({"error": text}, status)
