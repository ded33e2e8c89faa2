"""Fetches an image from a public web server: bounded in bytes, seconds and redirects, and nowhere else than allowed."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from threading import Thread
from typing import Any

import httpcore2
import httpx2

from iterreason.errors import BadImage
from iterreason.images import plain_url
from iterreason.pixels import MAX_BYTES

MAX_REDIRECTS = 3
SECONDS = 20.0
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = [(b"User-Agent", b"iterreason"), (b"Accept", b"image/*"), (b"Accept-Encoding", b"identity")]
INSTEAD = "download the image and give the file's path"
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; of an IPv4 address inside an IPv6 one, whether that is."""
    ip: IPv4Address | IPv6Address | None = ip_address(address)
    if isinstance(ip, IPv6Address):
        inside = IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip.ipv4_mapped or ip.sixtofour
        if inside is None and (ip.is_reserved or ip.is_site_local):
            return False
        ip = inside or ip
    return ip is not None and ip.is_global and not ip.is_multicast


def addresses(host: str, port: int) -> list[str]:
    """All IP addresses of a host; the system's resolver also knows the decimal, octal and hexadecimal forms."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


def fetch(
    url: str,
    *,
    permitted: Callable[[str], bool] = is_public,
    resolve: Callable[[str, int], list[str]] = addresses,
    tls: ssl.SSLContext | None = None,
    max_bytes: int = MAX_BYTES,
    seconds: float = SECONDS,
) -> bytes:
    """The bytes at an http(s) URL.

    permitted: whether an IP address may be connected to; a host of which any address is not permitted is refused.
    resolve: the IP addresses of a host and port. tls: None trusts the system's certificates.
    seconds: for all of it: names, connections, redirects, body.
    Raises BadImage.
    """
    # httpcore2 (part of httpx2) and not http.client: its network backend is the place to pin the checked address under
    # the URL's own Host header and TLS name, and to hold every read to one deadline. It follows no redirect, reads no
    # proxy from the environment and inflates nothing by itself.
    network = _Network(permitted, resolve, time.monotonic() + seconds)
    here, label = url, repr(plain_url(url))
    try:
        for _ in range(MAX_REDIRECTS + 1):
            parts = _checked(here)
            got = _get(parts, httpcore2.ConnectionPool(ssl_context=tls, network_backend=network), max_bytes)
            if isinstance(got, bytes):
                return got
            here = str(parts.join(got))
    except httpcore2.TimeoutException as error:
        raise BadImage(f"{label} took longer than {seconds:g} seconds; {INSTEAD}") from error
    except httpx2.InvalidURL as error:
        raise BadImage(f"{label} is not a valid URL, or leads to none ({error}); check it") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise BadImage(f"{label} could not be fetched ({error}); check it in a browser, or {INSTEAD}") from error
    raise BadImage(f"{label} redirects more than {MAX_REDIRECTS} times; {INSTEAD}")


def _checked(url: str) -> httpx2.URL:
    parts, label = httpx2.URL(url), repr(plain_url(url))
    if parts.scheme not in ("http", "https"):
        raise BadImage(f"{label} is a '{parts.scheme}:' address, and only http and https are fetched; {INSTEAD}")
    if parts.userinfo:
        raise BadImage(f"{label} holds a user name or password, which are not sent; {INSTEAD}")
    if not parts.host:
        raise BadImage(f"{label} names no host; give a full http(s) URL")
    return parts


def _get(url: httpx2.URL, pool: httpcore2.ConnectionPool, max_bytes: int) -> bytes | str:
    """The body, or where a redirect leads."""
    label = repr(plain_url(str(url)))
    target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    with pool, pool.stream("GET", target, headers=[(b"Host", url.netloc), *HEADERS]) as response:
        headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in REDIRECTS and b"location" in headers:
            return headers[b"location"]
        if response.status != 200:
            raise BadImage(f"{label} answered with HTTP status {response.status}; check it in a browser")
        if headers.get(b"content-encoding", "identity") != "identity":
            raise BadImage(f"{label} came compressed, though plain was asked for; {INSTEAD}")
        too_long = f"{label} is longer than {max_bytes:,} bytes; save it smaller"
        if int(headers.get(b"content-length", "0")) > max_bytes:  # httpcore2 has made sure that it is a number
            raise BadImage(too_long)
        body = bytearray()
        for piece in response.iter_stream():
            body += piece
            if len(body) > max_bytes:
                raise BadImage(too_long)
        return bytes(body)


@dataclass(frozen=True, slots=True)
class _Network(httpcore2.NetworkBackend):
    """Connects to the very addresses that were checked, so that a name cannot change its mind in between."""

    permitted: Callable[[str], bool]
    resolve: Callable[[str, int], list[str]]
    deadline: float

    def left(self) -> float:
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise httpcore2.ReadTimeout("no time left")
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        found = self._resolved(host, port)
        for address in found:
            if not self.permitted(address):
                raise BadImage(f"the host {host!r} is at {address}, which is not a public address; {INSTEAD}")
        failure: Exception = httpcore2.ConnectError(f"the host {host!r} has no address")
        for number, address in enumerate(found):
            try:  # the first of several may be unreachable, and must leave time for the others
                share = self.left() / (len(found) - number)
                return _Stream(httpcore2.SyncBackend().connect_tcp(address, port, share), self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure

    def _resolved(self, host: str, port: int) -> list[str]:
        # The system's resolver takes no time limit; a thread that it keeps is a daemon, so it never holds up the exit.
        future: Future[list[str]] = Future()

        def work() -> None:
            try:
                future.set_result(self.resolve(host, port))
            except Exception as error:
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        try:
            return future.result(self.left())
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout("the name took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"the host {host!r} is not known: {error}") from error


@dataclass(frozen=True, slots=True)
class _Stream(httpcore2.NetworkStream):
    """A connection of which every step ends at the deadline."""

    inner: httpcore2.NetworkStream
    network: _Network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, self.network.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.inner.write(buffer, self.network.left())

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self.inner.start_tls(ssl_context, server_hostname, self.network.left()), self.network)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)
