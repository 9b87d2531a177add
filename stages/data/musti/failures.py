"""Why a link is dead: what can go wrong on the way to a picture, in few words that can be counted by."""

import email.utils
import socket
import time

import aiohttp

from stages.data.musti.addresses import AddressRefused

_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Dead(Exception):
    """A link from which no picture came.

    Args:
        reason: in a few words, the same for all links with this trouble.
        again: whether another attempt may help.
        told: whether the host itself says so, in a way that the same answer can be expected the next time.
        silent: whether the host has not answered at all.
        wait: what the host asks to wait before anything else is asked of it, seconds.
    """

    def __init__(
        self, reason: str, *, again: bool = False, told: bool = False, silent: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.told, self.silent, self.wait = reason, again, told, silent, wait
        self.host: str | None = None  # where it went wrong, after redirects; set by who asked


def check_status(response: aiohttp.ClientResponse) -> None:
    """Lets a 200 pass.

    Raises:
        Dead: the status is another.
    """
    if response.status == 200:
        return
    reason = f"HTTP {response.status}"
    if response.status in _TRY_AGAIN:
        raise Dead(reason, again=True, wait=_retry_after(response.headers.get("Retry-After")))
    raise Dead(reason, told=True)


def explain(error: aiohttp.ClientError | OSError) -> Dead:
    """What the HTTP client ran into, as a dead link; never a trouble with a file of our own."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    match error:
        case _ if isinstance(cause, AddressRefused):
            return Dead("not a public address")
        case aiohttp.ClientConnectorDNSError():
            known = isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN
            return Dead("no such host", again=not known, silent=True)
        case aiohttp.ClientConnectorCertificateError():
            return Dead("TLS certificate")
        case aiohttp.ClientSSLError():
            return Dead("TLS", again=True)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Dead("no connection", again=True, silent=True)
        case TimeoutError():
            return Dead("time-out", again=True, silent=True)
        case aiohttp.InvalidURL():
            return Dead("not a url")
        case aiohttp.ClientPayloadError():
            return Dead("truncated", again=True)
        case _:
            return Dead("connection lost", again=True)


def _retry_after(value: str | None) -> float:
    """Seconds that a `Retry-After` header asks for: a number, or a date; 0 when there is none."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
