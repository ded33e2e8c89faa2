"""Images from the web: bounded in bytes, seconds and redirects, and from permitted addresses only."""

import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pixels

from iterreason.errors import BadImage
from iterreason.fetch import addresses, fetch, is_public
from iterreason.images import load_image
from iterreason.pixels import png

CERTIFICATE = Path(__file__).with_name("pictures.test.pem")
BODY = png(Pixels.new("RGB", (3, 2), "red"))


def reply(body=b"", status="200 OK", **headers):
    headers = {"Content_Length": len(body), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items() if v is not None)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def redirect(place, status="302 Found"):
    return reply(status=status, Location=place)


class Server(socketserver.ThreadingTCPServer):
    """Answers each path with written pieces: bytes to send, or seconds to wait."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, paths, tls=None):
        super().__init__(("127.0.0.1", 0), None)
        self.paths, self.tls, self.asked = paths, tls, []
        self.port = self.server_address[1]

    def finish_request(self, request, client_address):
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True)
        with request:
            asked = b""
            while b"\r\n\r\n" not in asked and (more := request.recv(4096)):
                asked += more
            self.asked.append(asked.decode())
            for piece in self.paths[asked.split()[1].decode()]:
                time.sleep(piece) if isinstance(piece, float) else request.sendall(piece)

    def handle_error(self, request, client_address):
        """The client hung up, as it should."""


@pytest.fixture
def serve():
    """Starts servers; they end with the test."""
    running = []

    def start(paths, tls=None):
        server = Server({path: [p] if isinstance(p, bytes) else p for path, p in paths.items()}, tls)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def local(address):
    return address == "127.0.0.1"


def get(server, path="/", host="127.0.0.1", **options):
    return fetch(f"http://{host}:{server.port}{path}", **{"permitted": local, "seconds": 5, **options})


def refusal(*arguments, **options):
    with pytest.raises(BadImage) as caught:
        get(*arguments, **options)
    return str(caught.value)


# ------------------------------------------------------------------ what is fetched


def test_an_image_is_fetched_and_named_after_its_url(serve):
    """The name keeps the path, and neither the query nor the fragment."""
    server = serve({"/a.png?token=1": reply(BODY)})
    image = load_image(f"http://127.0.0.1:{server.port}/a.png?token=1#x", allow_url=True, permitted=local)
    assert (image.data, image.name) == (BODY, f"http://127.0.0.1:{server.port}/a.png")


@pytest.mark.parametrize(
    "answer",
    [
        reply(BODY),
        reply(BODY, Content_Length=None),
        reply(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), Content_Length=None, Transfer_Encoding="chunked"),
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + reply(BODY),
    ],
    ids=["length", "until closed", "chunked", "HTTP/1.0", "after 100 Continue"],
)
def test_every_way_to_send_a_body_is_read(serve, answer):
    """With a length, in chunks, or until the server hangs up."""
    assert get(serve({"/": answer})) == BODY


def test_the_request_tells_nothing_but_what_it_wants(serve, monkeypatch):
    """No cookies, no credentials, no proxy of the environment; the host by the URL's own name."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = serve({"/x%20y?q=%C3%BC": reply(BODY)})
    assert get(server, "/x y?q=ü#here", "pictures.test", resolve=lambda host, port: ["127.0.0.1"]) == BODY
    assert server.asked == [
        f"GET /x%20y?q=%C3%BC HTTP/1.1\r\nHost: pictures.test:{server.port}\r\n"
        "User-Agent: iterreason\r\nAccept: image/*\r\nAccept-Encoding: identity\r\n\r\n"
    ]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_three_redirects_are_followed(serve, status):
    """Relative and absolute ones, each with its own request."""
    server = serve({"/": redirect("/1", status), "/1": redirect("2?x", status), "/2?x": b"", "/3": reply(BODY)})
    server.paths["/2?x"] = [redirect(f"http://127.0.0.1:{server.port}/3", status)]
    assert get(server) == BODY
    assert len(server.asked) == 4


# ------------------------------------------------------------------ what is refused


def test_four_redirects_are_too_many(serve):
    """A loop of redirects ends."""
    server = serve({"/": redirect("/")})
    assert "redirects more than 3 times" in refusal(server)
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("http://10.0.0.1/secret", "10.0.0.1, which is not"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254, which is not"),
        ("http://[::1]/", "::1, which is not"),
        ("http://[::ffff:10.0.0.1]/", "10.0.0.1, which is not"),
        ("//0.0.0.0/", "0.0.0.0, which is not"),
        ("file:///etc/passwd", "'file:' address"),
        ("ftp://example.org/", "'ftp:' address"),
        ("http://bob:secret@127.0.0.1/", "user name or password"),
        ("http://[::", "not a valid URL"),
        ("http://x/\x7f", "not a valid URL"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(serve, place, reason):
    """A public server cannot send us to a private one, nor to another scheme."""
    text = refusal(serve({"/": redirect(place)}))
    assert reason in text
    assert "secret" not in text.replace("/secret", "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(status="404 Not Found"), "HTTP status 404"),
        (reply(b"<h1>Sorry</h1>", status="500 Oops"), "HTTP status 500"),
        (reply(status="304 Not Modified"), "HTTP status 304"),
        (reply(status="302 Found"), "HTTP status 302"),
        (reply(b"\x1f\x8b", Content_Encoding="gzip"), "came compressed"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "could not be fetched"),
        (b"\0" * 5000, "could not be fetched"),
        (b"", "could not be fetched (Server disconnected"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000, "could not be fetched"),
        (reply(BODY, Content_Length="ten"), "could not be fetched"),
        (reply(BODY[:20], Content_Length=len(BODY)), "could not be fetched"),
        (reply(b"zz\r\n", Content_Length=None, Transfer_Encoding="chunked"), "could not be fetched"),
    ],
)
def test_bad_answers_are_refused(serve, answer, reason):
    """Errors, garbage and half answers each end in one clear sentence."""
    text = refusal(serve({"/": answer}))
    assert reason in text
    assert "\n" not in text


def test_a_page_instead_of_an_image_is_refused(serve):
    """What was fetched is as untrusted as any file."""
    server = serve({"/": reply(b"<html>Log in</html>")})
    with pytest.raises(BadImage, match=r"http://127.0.0.1:\d+/' is not a PNG"):
        load_image(f"http://127.0.0.1:{server.port}/", allow_url=True, permitted=local)


def test_a_length_beyond_the_limit_is_refused_before_the_body(serve):
    """Content-Length is enough to refuse; the body is not waited for."""
    began = time.monotonic()
    assert "longer than 100 bytes" in refusal(serve({"/": [reply(Content_Length=101), 3.0]}), max_bytes=100)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_end_is_refused_at_the_limit(serve, chunked):
    """A server that gives no length is cut off, not drained."""
    piece = b"1000\r\n" + b"x" * 4096 + b"\r\n" if chunked else b"x" * 4096
    head = reply(Content_Length=None, **({"Transfer_Encoding": "chunked"} if chunked else {}))
    assert "longer than 100,000 bytes" in refusal(serve({"/": [head, *[piece] * 10_000]}), max_bytes=100_000)
    assert get(serve({"/": reply(b"x" * 100)}), max_bytes=100) == b"x" * 100


DRIPS = {
    "head": [bytes([b]) for b in reply(BODY)],
    "body": [reply(Content_Length=1000), *[b"x"] * 1000],
    "redirects": [redirect("/")],
    "silence": [],
}


@pytest.mark.parametrize("pieces", DRIPS.values(), ids=DRIPS)
def test_a_slow_drip_ends_at_the_time_limit(serve, pieces):
    """The limit is for all of it: a byte now and then does not extend it."""
    wait = 3.0 if len(pieces) == 0 else 0.15
    slow = [p for piece in pieces for p in (wait, piece)] or [wait]
    began = time.monotonic()
    assert "took longer than 0.4 seconds" in refusal(serve({"/": slow}), seconds=0.4)
    assert time.monotonic() - began < 1.5


def test_a_slow_name_ends_at_the_time_limit(serve):
    """The system's resolver has no limit of its own, so it is not waited for."""

    def resolve(host, port):
        time.sleep(2)
        return ["127.0.0.1"]

    began = time.monotonic()
    assert "took longer than 0.2 seconds" in refusal(serve({}), seconds=0.2, resolve=resolve)
    assert time.monotonic() - began < 1


def test_no_time_at_all_is_a_time_limit_too(serve):
    """A limit that has passed before the first step is reported like any other."""
    assert "took longer than 0 seconds" in refusal(serve({}), seconds=0)


def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_server_that_is_down_is_refused():
    """The system's reason is passed on."""
    with pytest.raises(BadImage, match=r"could not be fetched .*refused"):
        fetch(f"http://127.0.0.1:{closed_port()}/", permitted=local, seconds=5)


@pytest.mark.parametrize("found", [OSError("Name or service not known"), UnicodeError("label too long"), []])
def test_a_name_without_address_is_refused(serve, found):
    """A host that nobody knows is named."""

    def resolve(host, port):
        if isinstance(found, Exception):
            raise found
        return found

    assert "'nowhere.test'" in refusal(serve({}), host="nowhere.test", resolve=resolve)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://bob:secret@example.org/a.png", "user name or password"),
        ("http://bob@example.org/a.png", "user name or password"),
        ("http://", "names no host"),
        ("http:///a.png", "names no host"),
        ("http://x:99999/", "could not be fetched|not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://x/" + "a" * 70_000, "not a valid URL"),
    ],
)
def test_urls_that_cannot_be_fetched_are_refused(url, reason):
    """Nothing is connected to, and no password is repeated."""
    with pytest.raises(BadImage, match=reason) as caught:
        fetch(url, seconds=5)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 500


@given(text=st.text(max_size=40))
def test_no_url_raises_anything_but_bad_image(text):
    """However odd the text behind http://, it is refused in a sentence."""
    with pytest.raises(BadImage):
        fetch("http://" + text, resolve=lambda host, port: ["10.0.0.1"])


# ------------------------------------------------------------------ which addresses


PRIVATE = {
    "loopback": ["127.0.0.1", "127.8.8.8", "::1"],
    "private": ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%lo"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "multicast": ["224.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "2001:db8::1", "2001::1"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"],
    "6to4": ["2002:7f00:1::", "2002:a00:1::"],
}


@pytest.mark.parametrize("private", PRIVATE.values(), ids=PRIVATE)
def test_addresses_that_are_not_public(private):
    """Loopback, private, link-local, reserved, multicast: also where wrapped in IPv6."""
    assert [address for address in private if is_public(address)] == []


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses(address):
    """Public IPv4 addresses stay so where wrapped in IPv6."""
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:7f00:1]",
        "0",
    ],
)
def test_every_way_to_write_a_private_host_is_refused_without_a_request(serve, host):
    """Addresses are checked after resolution, so no spelling gets around it."""
    server = serve({"/": reply(BODY)})
    with pytest.raises(BadImage, match=r"is at \S+, which is not|is not known|not a valid URL"):
        load_image(f"http://{host}:{server.port}/", allow_url=True)
    assert server.asked == []


def test_a_host_with_one_private_address_is_refused(serve):
    """All addresses of a host are checked, not just the one that would be used."""
    server = serve({"/": reply(BODY)})
    assert "10.0.0.1" in refusal(server, resolve=lambda host, port: ["127.0.0.1", "10.0.0.1"])
    assert server.asked == []


def test_the_checked_address_is_the_one_connected_to(serve):
    """A name that changes its address between the check and the connection gains nothing: it is resolved once."""
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    assert get(serve({"/": reply(BODY)}), host="rebind.test", resolve=lambda host, port: answers.pop(0)) == BODY
    assert answers == [["10.0.0.1"]]


def test_the_next_address_is_tried_where_the_first_is_down(serve):
    """A host with an address that nobody answers on is still reached."""
    found = ["127.0.0.2", "127.0.0.1"]
    permitted = found.__contains__
    assert get(serve({"/": reply(BODY)}), permitted=permitted, resolve=lambda host, port: found) == BODY


def test_the_system_resolver_gives_plain_addresses():
    """Each address once, as text."""
    assert addresses("127.0.0.1", 80) == ["127.0.0.1"]


# ------------------------------------------------------------------ TLS


def test_a_pinned_address_is_still_verified_by_name(serve):
    """The certificate and the server name indication are those of the URL's host, not of its address."""
    named = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    tls.sni_callback = lambda stream, name, context: named.append(name)
    server = serve({"/": reply(BODY)}, tls)
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    options = {"permitted": local, "resolve": lambda host, port: ["127.0.0.1"], "seconds": 5}
    assert fetch(f"https://pictures.test:{server.port}/", tls=trusting, **options) == BODY
    assert named == ["pictures.test"]
    with pytest.raises(BadImage, match="certificate"):
        fetch(f"https://other.test:{server.port}/", tls=trusting, **options)
    with pytest.raises(BadImage, match="certificate"):
        fetch(f"https://pictures.test:{server.port}/", **options)
    assert len(server.asked) == 1


def test_a_tls_handshake_without_answer_ends_at_the_time_limit():
    """A server that accepts and says nothing does not hold us up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(BadImage, match=r"longer than 0\.3 seconds"):
            fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/", permitted=local, seconds=0.3)
        assert time.monotonic() - began < 1.5


def test_nothing_of_the_network_is_imported_before_a_url_is_loaded():
    """Loading files costs no HTTP client."""
    code = "import sys, iterreason.images; print(any(n.startswith('http') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
