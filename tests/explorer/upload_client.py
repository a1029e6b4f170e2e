"""A client that uploads files through the middleware, and need not be honest."""

import asyncio

from explorer.runs.uploads.middleware import UploadMiddleware
from explorer.runs.uploads.store import UploadStore
from explorer.server.visitors import COOKIE

USUAL = "multipart/form-data; boundary=B"


class Browser:
    """A client of the middleware, before a Streamlit that keeps what it is given."""

    def __init__(self, store: UploadStore, *, status: int = 204, most: int = 1000) -> None:
        self.kept, self.status, self.store = b"", status, store
        self.middleware = UploadMiddleware(self._streamlit, lambda: most, store)

    async def _streamlit(self, scope, receive, send) -> None:
        if scope["method"] == "PUT":
            self.kept = (await receive())["body"]
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def send(
        self,
        method: str,
        *chunks: bytes,
        leaves: bool = False,
        cookie: str = "",
        kind: str = USUAL,
        length: str | None = None,
    ) -> int:
        """One request, and the status of its answer; 0 for none. length : that is announced; default the real one."""
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages += [{"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b""}]
        statuses = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            statuses.append(message.get("status"))

        headers = [(b"content-type", kind.encode("latin-1"))]
        headers += [(b"content-length", (str(sum(map(len, chunks))) if length is None else length).encode("latin-1"))]
        headers += [(b"cookie", f"{COOKIE}={cookie}".encode())] if cookie else []
        path = "/base/_stcore/upload_file/session/file"
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        asyncio.run(self.middleware(scope, receive, send))
        return (statuses or [0])[0] or 0
