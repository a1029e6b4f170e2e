"""Who a visitor of the public server is: a random cookie that the browser keeps for a day, known here only by its hash.

A session ends with every reload and with the server; the cookie does not, so that a browser finds its runs again and
its limits hold over all of its tabs. A client that keeps no cookie is a new visitor with each session.
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
    """The value of a `Set-Cookie` header for a new visitor. secure : whether the page came over https."""
    attributes = f"Max-Age={MAX_AGE_S}; Path=/; HttpOnly; SameSite=Lax"
    return f"{COOKIE}={secrets.token_hex(16)}; {attributes}{'; Secure' if secure else ''}"


def visitor_id(cookies: Mapping[str, str]) -> str:
    """The visitor with these cookies; "" where there is none of ours."""
    token = str(cookies.get(COOKIE, ""))
    return hashlib.sha256(token.encode("ascii")).hexdigest()[:32] if _TOKEN.fullmatch(token) else ""


def parse_cookies(header: str) -> dict[str, str]:
    """The cookies of a `Cookie` header; none where it is malformed."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}
