"""Limits the number of browser tabs connected to the public server, because each tab takes memory.

Above the limit, a visitor gets a page that says that the server is full. Streamlit itself has no such limit; it also
keeps up to 128 disconnected sessions for two minutes.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RETRY_S = 60
_TRY_AGAIN_LATER = 1013  # a websocket close code
_FULL = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="{RETRY_S}">
<meta name="viewport" content="width=device-width">
<title>Separation Index Explorer</title>
<body style="font: 1rem/1.5 sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem">
<h1 style="font-size: 1.4rem">The server is full</h1>
<p>It has reached its maximum number of visitors. This page tries again by itself in a minute. You can also run the app
on your own computer.</p>
"""


class SessionLimit:
    """ASGI middleware around Streamlit that refuses connections above a limit.

    Parameters
    ----------
    app : ASGI application
        The application to serve.
    max_connections : callable
        Returns how many connections are allowed at the same time; None for no limit.
    """

    def __init__(self, app: Any, max_connections: Callable[[], int | None]) -> None:
        self.app = app
        self.max_connections = max_connections
        self._num_connected = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one connection until it is closed."""
        if scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        elif self._is_full() and _is_page_request(scope):
            await _send_full(send)
        else:
            await self.app(scope, receive, send)

    def _is_full(self) -> bool:
        limit = self.max_connections()
        return limit is not None and self._num_connected >= limit

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._is_full():
            await receive()  # the protocol requires reading "connect" before the connection can be closed
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "The server is full."})
            return
        self._num_connected += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._num_connected -= 1


def _is_page_request(scope: Message) -> bool:
    """Whether a browser opens a page of the app; other requests belong to tabs that are already connected."""
    if scope["type"] != "http" or scope["method"] != "GET" or "/_stcore/" in scope["path"]:
        return False
    accepted = [value for name, value in scope["headers"] if name.lower() == b"accept"]
    return any(b"text/html" in value for value in accepted)


async def _send_full(send: Send) -> None:
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"retry-after", str(RETRY_S).encode()),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": _FULL.encode()})
