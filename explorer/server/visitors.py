"""Identifies visitors of the public server by a random cookie that the browser keeps for a day.

Only a hash of the cookie is stored. A session ends when the page is reloaded or the server restarts; the cookie
remains, so that a browser finds its runs again and its limits hold over all of its tabs. A client without cookies is a
new visitor in each session.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

COOKIE = "si_visitor"
MAX_AGE_S = 24 * 3600
_TOKEN = re.compile(r"[0-9a-f]{32}")


def new_cookie(*, secure: bool) -> str:
    """The value of a `Set-Cookie` header for a new visitor.

    Parameters
    ----------
    secure : bool
        Whether the page was requested over https; the cookie is then sent over https only.
    """
    cookie = f"{COOKIE}={secrets.token_hex(16)}; Max-Age={MAX_AGE_S}; Path=/; HttpOnly; SameSite=Lax"
    return f"{cookie}; Secure" if secure else cookie


def visitor_id(cookies: Mapping[str, str]) -> str:
    """The id of the visitor with these cookies; "" without a valid cookie of this app."""
    token = str(cookies.get(COOKIE, ""))
    if not _TOKEN.fullmatch(token):
        return ""
    return hashlib.sha256(token.encode("ascii")).hexdigest()[:32]


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a `Cookie` header; none if it is malformed."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}
