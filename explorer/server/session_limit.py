"""Bounds how many browser tabs may be connected to the public server at once: each takes memory while it stays.

Who comes when there is no place gets a page that says so, instead of the app. Streamlit itself refuses nobody; of the
sessions that have lost their connection it keeps 128, for two minutes.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RETRY_S = 60
_TRY_AGAIN_LATER = 1013  # of the codes with which a websocket is closed
_FULL = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="{RETRY_S}">
<meta name="viewport" content="width=device-width">
<title>Separation Index Explorer</title>
<body style="font: 1rem/1.5 sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem">
<h1 style="font-size: 1.4rem">The server is full</h1>
<p>As many visitors look at it as it has room for. This page tries again by itself in a minute. The app also runs on
your own computer, where nobody else uses it.</p>
"""


class SessionLimit:
    """ASGI middleware around Streamlit.

    most : connections at the same time; None for no limit.
    """

    def __init__(self, app: Any, most: Callable[[], int | None]) -> None:
        self.app, self.most = app, most
        self._connected = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one connection until it is closed."""
        if scope["type"] == "websocket":
            await self._serve(scope, receive, send)
        elif self._is_full() and _asks_for_page(scope):
            await _send_full(send)
        else:
            await self.app(scope, receive, send)

    def _is_full(self) -> bool:
        most = self.most()
        return most is not None and self._connected >= most

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._is_full():
            await receive()  # that it wants to connect
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": "The server is full."})
            return
        self._connected += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._connected -= 1


def _asks_for_page(scope: Message) -> bool:
    """Whether a browser opens a page of the app; what the pages of others need is still served."""
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
