"""Where a server is and what it is to be told: the `openai:` URI and the key, read and checked without any I/O."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from iterreason.errors import BadConfig, Misuse, UnknownModel

HOSTED = "https://api.openai.com/v1"
RIGHT_FORM = "write openai:MODEL@http://host:port/v1, or openai:MODEL for the hosted API"
KEY_VARIABLES = ("ITERREASON_API_KEY", "OPENAI_API_KEY")
NO_KEY = "none"  # what a server gets where no key is set; the SDK insists on one
KEY = re.compile(r"""[^\s"'\\\x00-\x1f\x7f-\U0010ffff]+""")


@dataclass(frozen=True, slots=True)
class Address:
    """A model's name and the base URL of the server that has it."""

    model: str
    url: str

    @property
    def hosted(self) -> bool:
        """Whether this is the hosted API, which takes nobody without a key."""
        return urlsplit(self.url).hostname == urlsplit(HOSTED).hostname

    @property
    def own(self) -> bool:
        """Whether the OPENAI_ variables are meant for this server: the hosted API, or the one at OPENAI_BASE_URL."""
        return self.hosted or self.url == os.environ.get("OPENAI_BASE_URL", "").rstrip("/")

    def __str__(self) -> str:
        return f"openai:{self.model}@{self.url}"


def parse_uri(uri: str) -> Address:
    """Read `openai:MODEL@http://host:port/v1` or `openai:MODEL`.

    MODEL may hold `/`, `:` and `@`. Raises UnknownModel for a malformed URI, BadConfig for a malformed OPENAI_BASE_URL.
    """
    scheme, _, rest = uri.partition(":")
    found = re.fullmatch(r"(?P<model>.*)@(?P<url>https?://.*)", rest, re.S)
    model, url = (found["model"], found["url"]) if found else (rest, "")
    if scheme != "openai" or not model or model != model.strip():
        raise UnknownModel(f"model URI {_shown(uri)!r} names no model of a server; {RIGHT_FORM}")
    if url:
        if flaw := _flaw(url):
            raise UnknownModel(f"model URI {_shown(uri)!r} {flaw}; {RIGHT_FORM}")
    elif re.search(r"@(localhost|[\w.-]+:\d+|[\w.-]+/)|://", model):
        raise UnknownModel(f"model URI {_shown(uri)!r} names a server without http:// or https://; {RIGHT_FORM}")
    else:
        url = os.environ.get("OPENAI_BASE_URL") or HOSTED
        if flaw := _flaw(url):
            raise BadConfig(f"OPENAI_BASE_URL {_shown(url)!r} {flaw}; set it to a form like {HOSTED}")
    return Address(model, url.rstrip("/"))


def _flaw(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "holds no valid host and port"
    if "@" in parts.netloc:
        return f"holds a name or password; put the key into {KEY_VARIABLES[0]}"
    if parts.query or parts.fragment:
        return f"holds a query; put a key into {KEY_VARIABLES[0]}"
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", url):
        return "holds no valid host"
    return ""


def _shown(uri: str) -> str:
    """The URI without what may be secret in it."""
    return re.sub(r"[?#].*", "?…", re.sub(r"(https?://)[^/]*@", r"\1…@", uri), flags=re.S)


def read_key(address: Address) -> str:
    """The key for this server, from the environment; OPENAI_API_KEY goes only where that key belongs.

    Raises Misuse where the hosted API has none, BadConfig where it could not be sent in a header.
    """
    fitting = KEY_VARIABLES if address.own else KEY_VARIABLES[:1]
    variable = next((name for name in fitting if os.environ.get(name, "").strip()), None)
    if variable is None:
        if address.hosted:
            raise Misuse(f"{address.url} needs a key; set {' or '.join(KEY_VARIABLES)}")
        return NO_KEY
    key = os.environ[variable].strip()
    if not KEY.fullmatch(key):
        raise BadConfig(f"{variable} holds blanks, quotes or characters outside ASCII; set it to the key alone")
    return key
