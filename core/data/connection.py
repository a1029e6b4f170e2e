"""Check within seconds whether the hosts of addresses can be reached, before a library tries for minutes."""

import socket
import threading
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ftp": 21}


def check_hosts(addresses: Iterable[str], *, timeout_s: float = 5.0) -> dict[str, str]:
    """Try to connect to the hosts of addresses, and return why that is not possible.

    Where the environment names a proxy for an address, the proxy is what must be reached.

    Parameters
    ----------
    addresses : iterable of str
        Addresses such as "https://example.org/file"; those of other schemes than http, https and ftp are left out.
    timeout_s : float
        Seconds to wait for all hosts together.

    Returns
    -------
    dict of str to str
        By host, as "host:port": the reason, or "" where a connection can be opened.
    """
    targets = dict.fromkeys(target for address in addresses if (target := _target(address)))
    reasons = {f"{host}:{port}": f"no answer within {timeout_s:g} s" for host, port in targets}
    threads = [
        # A daemon, because looking up a name cannot be interrupted and must not keep the program from ending.
        threading.Thread(target=_try_to_connect, args=(host, port, timeout_s, reasons), daemon=True)
        for host, port in targets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout_s)
    return dict(reasons)  # a thread that goes on changes the other one


def _try_to_connect(host: str, port: int, timeout_s: float, reasons: dict[str, str]) -> None:
    """Set the reason of a host: empty if it answers."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as error:
        reasons[f"{host}:{port}"] = error.strerror or str(error)
    else:
        reasons[f"{host}:{port}"] = ""


def _target(address: str) -> tuple[str, int] | None:
    """Host and port that a request for an address connects to; None where that is unknown."""
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or _PORTS.get(parts.scheme, 80)
