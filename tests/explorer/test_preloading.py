"""What the page tells the browser to load before it asks."""

import asyncio

import pytest

from explorer.preloading import Preloading, preload_header


def test_the_scripts_of_charts_are_there_in_this_streamlit():
    header = preload_header().decode()
    assert "/ArrowVegaLiteChart." in header
    assert "/embed." in header
    assert header.count("rel=modulepreload") == 2


def test_what_another_streamlit_has_not_is_left_out(tmp_path):
    (tmp_path / "embed.abc.js").touch()
    assert preload_header(tmp_path) == b"<./static/js/embed.abc.js>; rel=modulepreload; crossorigin"
    assert preload_header(tmp_path / "elsewhere") == b""


@pytest.mark.parametrize(("kind", "told"), [(b"text/html; charset=utf-8", True), (b"text/javascript", False)])
def test_the_header_is_on_pages_only(kind, told):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": b"content"})

    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Preloading(app)({"type": "http"}, None, send))
    assert (b"link" in dict(sent[0]["headers"])) == told
    assert sent[1]["body"] == b"content"
