"""The page tells the browser, before anything else, which scripts its charts will need.

Streamlit's page asks for them when the first chart arrives. Until then the browser mostly waits for the server, and can
load them meanwhile. What Streamlit does not have under these names is left out.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import streamlit as st

SCRIPTS = ("ArrowVegaLiteChart", "embed")  # Streamlit's chart element, and Vega
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]


def preload_header(static: Path = Path(st.__file__).parent / "static" / "static" / "js") -> bytes:
    """The value of the header `Link`; empty where none of the scripts is found."""
    found = [path.name for script in SCRIPTS for path in sorted(static.glob(f"{script}.*.js"))]
    return ", ".join(f"<./static/js/{name}>; rel=modulepreload; crossorigin" for name in found).encode()


class Preloading:
    """An ASGI application whose HTML bears the header."""

    def __init__(self, app: Application) -> None:
        self.app, self.header = app, preload_header()

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        async def with_header(message: Message) -> None:
            headers = message.get("headers", [])
            if message["type"] == "http.response.start" and self.header and _is_html(headers):
                message = {**message, "headers": [*headers, (b"link", self.header)]}
            await send(message)

        await self.app(scope, receive, with_header)


def _is_html(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in headers)
