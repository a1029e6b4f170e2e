"""No more tabs than a public server has room for; who comes later is told so, and comes in when one has gone."""

import asyncio
import urllib.error
import urllib.request

import pytest
from websockets.exceptions import InvalidStatus

from explorer.server.public_mode import limits
from explorer.server.session_limit import SessionLimit
from tests.browser import serve
from tests.explorer.streamlit_client import session

PAGE = {"type": "http", "method": "GET", "path": "/classes", "headers": [(b"accept", b"text/html,*/*")]}
FILE = {"type": "http", "method": "GET", "path": "/static/a.js", "headers": [(b"accept", b"*/*")]}
TAB = {"type": "websocket", "path": "/_stcore/stream", "headers": []}


class Server:
    """A limit before an app whose connections stay open until they are closed."""

    def __init__(self, most: int | None) -> None:
        self.limit = SessionLimit(self._app, lambda: most)
        self.closed = asyncio.Event()

    async def _app(self, scope, receive, send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await self.closed.wait()
            raise RuntimeError("the connection broke")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(self, scope) -> dict:
        """The first message of the answer."""
        answers: asyncio.Queue = asyncio.Queue()

        async def receive():
            return {"type": "websocket.connect"}

        task = asyncio.create_task(self.limit(scope, receive, answers.put))
        task.add_done_callback(lambda done: done.exception())
        return await answers.get()


@pytest.mark.parametrize(
    ("most", "last"), [(2, "websocket.close"), (3, "websocket.accept"), (None, "websocket.accept")]
)
def test_as_many_tabs_as_there_is_room_for(most: int | None, last: str):
    async def visit() -> list[str]:
        server = Server(most)
        return [(await server.ask(TAB))["type"] for _ in range(3)]

    assert asyncio.run(visit()) == ["websocket.accept", "websocket.accept", last]


def test_a_full_server_sends_newcomers_a_page_that_says_so_and_others_what_they_need():
    async def visit() -> list[int]:
        server = Server(1)
        before = await server.ask(PAGE)
        await server.ask(TAB)
        full = [await server.ask(PAGE), await server.ask(FILE)]
        server.closed.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [answer["status"] for answer in (before, *full, await server.ask(PAGE))]

    assert asyncio.run(visit()) == [200, 503, 200, 200]


def test_a_public_server_has_room_by_its_memory_a_local_one_without_end():
    assert limits({}).sessions is None
    assert limits({"SI_EXPLORER_PUBLIC": "1"}).sessions == 62
    assert limits({"SI_EXPLORER_PUBLIC": "1", "SI_EXPLORER_MEMORY": "4GiB"}).sessions == 390


def opened(address: str) -> tuple[int, str]:
    """Status and text of a page as a browser asks for it."""
    request = urllib.request.Request(address, headers={"Accept": "text/html"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_real_server_lets_in_who_finds_a_place(tmp_path):
    """Of a size for two tabs."""
    environ = {
        "SI_EXPLORER_PUBLIC": "1",
        "SI_EXPLORER_MEMORY": "22MB",
        "SI_EXPLORER_STUDIES": str(tmp_path / "studies"),
    }
    with serve(environ=environ) as (address, _), session(address) as first:
        first.open("method")
        with session(address) as second:
            second.open("method")
            status, text = opened(address)
            assert status == 503
            assert "The server is full" in text
            assert opened(f"{address}/_stcore/health")[0] == 200
            with pytest.raises(InvalidStatus), session(address):
                pass
            first.open("method")  # who is in stays in
            assert first.texts("exception") == []
        for _ in range(100):
            if (status := opened(address)[0]) == 200:
                break
        assert status == 200
        with session(address) as third:
            third.open("method")
            assert third.texts("heading")
