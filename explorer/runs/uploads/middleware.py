"""Writes uploads to disk before they reach Streamlit, which would keep them in memory.

Streamlit's own route still checks the request (session, cross-site token, form), but gets a form with an empty file.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from explorer.runs.uploads.store import Incoming, UploadStore, store
from explorer.server.public_mode import is_public
from explorer.server.visitors import new_cookie, parse_cookies, visitor_id

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STALL_S = 60.0  # an upload that sends nothing for this time is cancelled
_FORM_BYTES = 1 << 20  # largest size of a form without its file
_WRAPPING_BYTES = 2048  # more than the usual size of a browser's form without its file
_BUFFER_BYTES = 1 << 20
_MAX_DIGITS = 20  # of the announced length; more would be no serious request
_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)")


class _UploadEnded(Exception):
    """The client has disconnected, or the request is no form with one file.

    Parameters
    ----------
    status : int
        HTTP status of the answer; 0 for no answer.
    reason : str
        Body of the answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class UploadMiddleware:
    """ASGI middleware around Streamlit that writes uploads to disk.

    Parameters
    ----------
    app : ASGI application
        The application to serve.
    max_file_bytes : callable
        Returns the largest size of one file.
    uploads : UploadStore
        Where the files are stored.
    """

    def __init__(self, app: Any, max_file_bytes: Callable[[], int], uploads: UploadStore = store) -> None:
        self.app, self.max_file_bytes, self.uploads = app, max_file_bytes, uploads

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        target = _UPLOAD.search(scope["path"]) if scope["type"] == "http" else None
        if target is None:
            await self.app(scope, receive, _with_cookie(scope, send))
        elif scope["method"] == "DELETE":
            await self._delete(scope, receive, send, target.groups())
        elif scope["method"] == "PUT":
            await self._put(scope, receive, send, target.groups())
        else:
            await self.app(scope, receive, send)

    async def _delete(self, scope: Message, receive: Receive, send: Send, target: tuple[str, ...]) -> None:
        session, file_id = target

        async def send_and_remove(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                self.uploads.remove(session, file_id)
            await send(message)

        await self.app(scope, receive, send_and_remove)

    async def _put(self, scope: Message, receive: Receive, send: Send, target: tuple[str, ...]) -> None:
        session, file_id = target
        form: bytes | None = None

        async def receive_form() -> Message:
            nonlocal form
            if form is not None:
                return await receive()
            form = await self._take_file(scope, receive, session, file_id)
            return {"type": "http.request", "body": form, "more_body": False}

        async def send_or_remove(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 300:
                self.uploads.remove(session, file_id)
            await send(message)

        try:
            await self.app(scope, receive_form, send_or_remove)
        except _UploadEnded as ended:
            self.uploads.remove(session, file_id)
            if ended.status:
                text = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": ended.status, "headers": text})
                await send({"type": "http.response.body", "body": str(ended).encode()})

    async def _take_file(self, scope: Message, receive: Receive, session: str, file_id: str) -> bytes:
        """Write the form's file to disk, and return the form with an empty file."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "")
        announced = int(length) if length.isdecimal() and len(length) < _MAX_DIGITS else 0
        max_bytes = self.max_file_bytes()
        if announced > max_bytes + _FORM_BYTES:
            raise _UploadEnded(413, f"A file may have at most {max_bytes:,} bytes.")
        form = _Form(headers.get(b"content-type", ""), max_bytes)  # first, because it may refuse the request
        visitor = visitor_id(parse_cookies(headers.get(b"cookie", ""))) or session
        incoming = self.uploads.receive(session, file_id, visitor, max(0, announced - _WRAPPING_BYTES))
        try:
            await _copy(receive, form, incoming)
        except BaseException:
            incoming.abort("It did not arrive in full. Choose it again.")
            raise
        incoming.finish()
        return form.without_content()


async def _copy(receive: Receive, form: "_Form", incoming: Incoming) -> None:
    """Receive the request's body, and write the content of its file in large chunks."""
    more = True
    while more:
        try:
            message = await asyncio.wait_for(receive(), STALL_S)
        except TimeoutError as error:
            raise _UploadEnded(408, "The upload has stopped.") from error
        if message["type"] == "http.disconnect":
            raise _UploadEnded(0, "The client has disconnected.")
        form.feed(message.get("body", b""))
        more = message.get("more_body", False)
        if len(form.content) >= _BUFFER_BYTES or not more:
            content, form.content = form.content, bytearray()
            await asyncio.to_thread(incoming.write, bytes(content))


class _Form:
    """Parser of a multipart form.

    Parameters
    ----------
    content_type : str
        Header of the request.
    max_bytes : int
        Largest size of the file.

    Attributes
    ----------
    content : bytearray
        Bytes of the file that have not been taken yet.
    head : bytearray
        Headers of the file's part of the form.
    """

    def __init__(self, content_type: str, max_bytes: int) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise _UploadEnded(400, "An upload must be a form of the type multipart/form-data.")
        self.boundary = options[b"boundary"]
        self.content, self.head = bytearray(), bytearray()
        self._max_bytes, self._size, self._parts = max_bytes, 0, 0
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_head,
            "on_header_value": self._add_value,
            "on_header_end": lambda: self.head.extend(b"\r\n"),
            "on_part_data": self._add_content,
        }
        try:
            self._parser = MultipartParser(self.boundary, callbacks)
        except FormParserError as error:
            raise _UploadEnded(400, "The boundary of an upload's form must be a short text.") from error

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the form."""
        from python_multipart.exceptions import FormParserError

        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _UploadEnded(400, "The form of an upload must be whole.") from error

    def without_content(self) -> bytes:
        """The same form with an empty file."""
        if self._parts != 1:
            raise _UploadEnded(400, f"An upload must be one file; got {self._parts}.")
        return b"--" + self.boundary + b"\r\n" + bytes(self.head) + b"\r\n\r\n--" + self.boundary + b"--\r\n"

    def _begin_part(self) -> None:
        self._parts += 1

    def _add_head(self, data: bytes, start: int, end: int) -> None:
        self.head.extend(data[start:end])

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        separator = b"" if self.head.rpartition(b"\r\n")[2].count(b": ") else b": "
        self.head.extend(separator + data[start:end])

    def _add_content(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._max_bytes:
            raise _UploadEnded(413, f"A file may have at most {self._max_bytes:,} bytes.")
        self.content.extend(data[start:end])


def _with_cookie(scope: Message, send: Send) -> Send:
    """On a public server, add a cookie to the first page that a new visitor gets."""
    if scope["type"] != "http" or not is_public():
        return send
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if visitor_id(parse_cookies(headers.get(b"cookie", ""))):
        return send
    secure = scope.get("scheme") == "https" or headers.get(b"x-forwarded-proto") == "https"

    async def send_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            content_types = [value for name, value in message.get("headers", ()) if name.lower() == b"content-type"]
            if content_types and content_types[0].startswith(b"text/html"):
                cookie = (b"set-cookie", new_cookie(secure=secure).encode("ascii"))
                message = {**message, "headers": [*message["headers"], cookie]}
        await send(message)

    return send_cookie
