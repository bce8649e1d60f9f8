"""`proxy_http_call`: a filter asks for an HTTP exchange of its own, and is told of the answer.

Other proxies have a table of upstreams by name; here it is `[proxy_wasm.upstreams]` in the
manifest. A name that is not in it may be a URL or one of Istio's (`outbound|80||host`); any other
is passed over, and the call goes where its `:authority` says.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.headers import Field, text_of
from proxy_core.model.message import split_authority
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.files.reach import covers_host
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    UNIMPLEMENTED,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import (
    MOST_CALLS,
    OutgoingCall,
    instance_of,
)
from proxy_core.plugin_host.foreign.proxy_wasm.map_functions import PAIRS_BYTES
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import deny, give_u32, unpack_pairs
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.hook import edit_rules as rules

CALL_BODY_BYTES: Final = 1024 * 1024
LONGEST_SECONDS: Final = 60.0
_ISTIO_PARTS: Final = 4


def base_url(manifest: Manifest, upstream: str, authority: bytes, scheme: bytes) -> str | None:
    """Return `scheme://host[:port]` of where a call goes; None where that cannot be known."""
    known = manifest.proxy_wasm.upstreams.get(upstream)
    if known is not None:
        return known
    if upstream.startswith(("http://", "https://")):
        parts = rules.split_url(upstream.encode("latin-1", "replace"))
        return None if parts is None else f"{parts[0]}://{text_of(parts[1])}"
    istio = upstream.split("|")
    if len(istio) == _ISTIO_PARTS and istio[1].isascii() and istio[1].isdigit():
        authority, scheme = f"{istio[3]}:{istio[1]}".encode("latin-1", "replace"), b"http"
    if not rules.is_authority(authority):
        return None
    name = scheme if scheme in (b"http", b"https") else b"http"
    return f"{name.decode()}://{text_of(authority)}"


def _call(
    host: HostSide,
    up: int,
    un: int,
    hp: int,
    hn: int,
    bp: int,
    bn: int,
    tp: int,
    tn: int,
    milliseconds: int,
    at: int,
) -> int:
    memory = host.memory
    if not (
        memory.holds(up, un)
        and memory.holds(hp, hn)
        and memory.holds(bp, bn)
        and memory.holds(tp, tn)
        and memory.holds(at, 4)
    ):
        return INVALID_MEMORY
    if un > rules.TARGET_BYTES or hn > PAIRS_BYTES or bn > CALL_BODY_BYTES or tn > PAIRS_BYTES:
        return BAD_ARGUMENT
    fields = unpack_pairs(memory.read(hp, hn) or b"")
    trailers = unpack_pairs(memory.read(tp, tn) or b"")
    if fields is None or trailers is None:
        return BAD_ARGUMENT
    if trailers:
        return UNIMPLEMENTED
    instance = instance_of(host)
    if instance.calls_under_way >= MOST_CALLS:
        return INTERNAL_FAILURE
    stream = instance.stream
    upstream = text_of(memory.read(up, un) or b"")
    call = _prepare(host.call.manifest, upstream, fields)
    if call is None:
        return BAD_ARGUMENT
    if not _may_reach(host, call.url):
        return deny(host, "proxy_http_call")
    call.id = instance.new_call_id()
    call.body = memory.read(bp, bn) or b""
    call.seconds = min(milliseconds / 1000 or LONGEST_SECONDS, LONGEST_SECONDS)
    call.stream = stream
    instance.calls_under_way += 1
    instance.outbox.append(call)
    if stream is not None:
        stream.calls += 1
    return give_u32(host, call.id, at)


def _may_reach(host: HostSide, url: str) -> bool:
    scheme, _, rest = url.partition("://")
    name, port = split_authority(rest.partition("/")[0].encode("latin-1"), scheme)
    return covers_host(host.call.belongings.permits.granted("network"), name, port)


def _prepare(manifest: Manifest, upstream: str, fields: list[Field]) -> OutgoingCall | None:
    """Make a call of a filter's fields, or None where something needed is missing or malformed."""
    pseudo = {name.lower(): value for name, value in fields if name.startswith(b":")}
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    authority = pseudo.get(b":authority")
    if method is None or path is None or authority is None:
        return None
    if not rules.is_method(method) or not rules.is_path(path) or len(path) > rules.TARGET_BYTES:
        return None
    rest = [
        (name, value)
        for name, value in fields
        if not name.startswith(b":") and name.lower() not in rules.PROXY_OWNED
    ]
    if rules.check_fields(rest) != abi.OK:
        return None
    base = base_url(manifest, upstream, authority, pseudo.get(b":scheme", b""))
    if base is None:
        return None
    return OutgoingCall(0, method, base + text_of(path), rest, b"", 0.0, None)


FUNCTIONS: Final = (HostFunction("proxy_http_call", 0, ("i32",) * 10, "i32", _call),)
