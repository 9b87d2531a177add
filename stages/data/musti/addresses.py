"""Which addresses may be connected to, and names looked up without holding up a stop.

A url names a host, and what the name stands for can change between a check and a connection. So the check is made where
a socket is created for one given address, which is the address it is then connected to: it holds for names, literal
addresses and the targets of redirects alike.
"""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

AddressInfo = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` gives them: family, type, protocol, canonical name, socket address."""


class AddressRefused(OSError):
    """An address that may not be connected to."""


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of the public internet, also where it carries another in itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        carried = [parsed.ipv4_mapped, parsed.sixtofour]
        if parsed in _NAT64:
            carried.append(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF))
        if any(inner is not None and not is_public(str(inner)) for inner in carried):
            return False
        if parsed.ipv4_mapped is not None:  # judged by what it carries: the block itself counts as reserved
            return True
    return parsed.is_global and not parsed.is_multicast


def socket_maker(may_connect: Callable[[str], bool]) -> Callable[[AddressInfo], socket.socket]:
    """What makes the socket for an address, after checking that it may be connected to.

    Raises:
        AddressRefused: (by what is returned) `may_connect` says no to the address.
    """

    def make(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        if not may_connect(address[0]):
            raise AddressRefused("the address is not public")
        return socket.socket(family, kind, protocol)

    return make


class NameResolver(AbstractResolver):
    """Looks names up in threads that do not keep the program alive: the system's look-up cannot be interrupted."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[AddressInfo]] = loop.create_future()

        def settle(found: list[AddressInfo], error: Exception | None) -> None:
            if answer.done():  # the wait was given up
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: list[AddressInfo] = []
            failed: Exception | None = None
            try:
                found = list(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
            except UnicodeError as error:  # a label that no name can have
                failed = socket.gaierror(socket.EAI_NONAME, str(error))
            except OSError as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(settle, found, failed)

        threading.Thread(target=look_up, name=f"look-up {host}", daemon=True).start()
        return [_result(host, info) for info in await answer]

    async def close(self) -> None:
        """Nothing is held."""


def _result(host: str, info: AddressInfo) -> ResolveResult:
    family, _, protocol, _, address = info
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=address[0], port=address[1], family=family, proto=protocol, flags=int(flags)
    )
