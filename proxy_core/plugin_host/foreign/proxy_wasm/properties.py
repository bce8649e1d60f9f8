"""`proxy_get_property` and `proxy_set_property`: facts of the flow, by path.

A path is its parts with zero bytes between them. Values are as Envoy writes them: text as it is,
numbers and times in 64 bits little-endian (times in nanoseconds), booleans in a byte, maps
serialised like header maps. What a filter sets is its own, but for `flow.comment`, `flow.tag` and
`flow.colour`, which people see.
"""

from __future__ import annotations

import hashlib
import struct
import time
from collections.abc import Callable, Mapping
from typing import Final

from proxy_core.model.connection import Address, TlsFacts
from proxy_core.model.flow import Flow
from proxy_core.model.message import Body, RequestHead, ResponseHead
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import (
    PROPERTY_BYTES,
    Stream,
    instance_of,
)
from proxy_core.plugin_host.foreign.proxy_wasm.header_maps import read_only
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import give, pack_pairs
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.functions.message_fields import HOST_VERSION
from proxy_core.plugin_host.hook.call import ANNOTATION_BYTES
from proxy_core.plugin_host.hook.draft import RequestDraft, ResponseDraft

PATH_BYTES: Final = 4096
NODE_ID: Final = b"int3rceptor"
_LISTENER_OUTBOUND: Final = 2
_BILLION: Final = 10**9
_ANNOTATIONS: Final = ("comment", "tag", "colour")


def _integer(number: int) -> bytes:
    return struct.pack("<q", number)


def _nanoseconds(seconds: float) -> bytes:
    return _integer(int(seconds * _BILLION))


def _host_of(address: Address | None) -> bytes | None:
    """An address as Envoy has it, with its port."""
    if address is None:
        return None
    host, port = address
    return f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()


def _request(stream: Stream) -> RequestHead | RequestDraft:
    draft = None if stream.request_call is None else stream.request_call.begun_draft
    return draft if isinstance(draft, RequestDraft) else stream.flow.request


def _response(stream: Stream) -> ResponseHead | ResponseDraft | None:
    if stream.own_response is not None:
        return stream.own_response
    draft = None if stream.response_call is None else stream.response_call.begun_draft
    return draft if isinstance(draft, ResponseDraft) else stream.flow.response


def _of_request(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    flow, request = stream.flow, _request(stream)
    path, _, query = request.path.partition(b"?")
    match name:
        case "path":
            return request.path
        case "url_path":
            return path
        case "query":
            return query
        case "host":
            return request.authority
        case "scheme":
            return request.scheme.encode()
        case "method":
            return request.method
        case "protocol":
            return flow.request.version.encode()
        case "headers":
            return _header(request, rest)
        case "referer":
            return request.headers.get(b"referer")
        case "useragent":
            return request.headers.get(b"user-agent")
        case "id":
            return request.headers.get(b"x-request-id")
        case "time":
            return _nanoseconds(flow.started)
        case "duration":
            return _nanoseconds((flow.ended or time.time()) - flow.started)
        case "size":
            return _integer(flow.request_body.size)
        case "total_size":
            return _integer(len(flow.request.raw) + flow.request_body.size)
    return None


def _of_response(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    flow, response = stream.flow, _response(stream)
    if response is None:
        return None
    match name:
        case "code":
            return _integer(response.status)
        case "code_details":
            return b"via_upstream"
        case "flags":
            return _integer(0)
        case "grpc_status":
            return _grpc_status(flow.response_body, response)
        case "headers":
            return _header(response, rest)
        case "trailers":
            pairs = [(key.lower(), value) for key, value in flow.response_body.trailers or []]
            return pack_pairs(pairs) if not rest else dict(pairs).get(rest[0].lower().encode())
        case "size":
            return _integer(flow.response_body.size)
        case "total_size":
            raw = b"" if flow.response is None else flow.response.raw
            return _integer(len(raw) + flow.response_body.size)
        case "backend_latency":
            if flow.request_sent is None or flow.first_byte is None:
                return None
            return _nanoseconds(flow.first_byte - flow.request_sent)
    return None


def _grpc_status(body: Body, response: ResponseHead | ResponseDraft) -> bytes | None:
    trailers = dict(body.trailers or [])
    status = trailers.get(b"grpc-status") or response.headers.get(b"grpc-status")
    return _integer(int(status)) if status is not None and status.isdigit() else None


def _header(
    head: RequestHead | RequestDraft | ResponseHead | ResponseDraft, rest: list[str]
) -> bytes | None:
    whole = head if isinstance(head, RequestHead | ResponseHead) else head.build() or head.original
    found = read_only(whole)
    return found.get(rest[0].encode()) if rest else pack_pairs(found.pairs())


def _of_source(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    return _of_address(stream.flow.client.peer, name)


def _of_destination(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    return _of_address(stream.flow.client.local, name)


def _of_address(address: Address, name: str) -> bytes | None:
    match name:
        case "address":
            return _host_of(address)
        case "port":
            return _integer(address[1])
    return None


def _of_connection(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    client = stream.flow.client
    if name == "id":
        return struct.pack("<Q", client.id)
    if name == "mtls":
        tls = client.tls
        return bytes([tls is not None and tls.certificate is not None and tls.verified])
    return _of_tls(client.tls, name)


def _of_tls(tls: TlsFacts | None, name: str) -> bytes | None:
    if tls is None:
        return None
    match name:
        case "tls_version":
            return tls.version.encode() or None
        case "requested_server_name":
            return None if tls.sni is None else tls.sni.encode()
        case "sha256_peer_certificate_digest":
            if tls.certificate is None:
                return None
            return hashlib.sha256(tls.certificate).hexdigest().encode()
    return None


def _of_upstream(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    server = stream.flow.server
    if server is None:
        return None
    if name in ("address", "port"):
        return None if server.peer is None else _of_address(server.peer, name)
    return _of_tls(server.tls, name)


def _of_flow(stream: Stream, name: str, rest: list[str]) -> bytes | None:
    if name == "id":
        return b"%d" % stream.flow.id
    if name in _ANNOTATIONS:
        noted = {**(stream.flow.annotations or {}), **(stream.last_call.annotations or {})}
        return noted[name].encode() if name in noted else None
    return None


_GROUPS: Final[Mapping[str, Callable[[Stream, str, list[str]], bytes | None]]] = {
    "request": _of_request,
    "response": _of_response,
    "source": _of_source,
    "destination": _of_destination,
    "connection": _of_connection,
    "upstream": _of_upstream,
    "flow": _of_flow,
}


def _of_plugin(host: HostSide, parts: list[str]) -> bytes | None:
    """What is the same for all streams."""
    manifest = host.call.manifest
    match parts:
        case ["plugin_name"]:
            return manifest.name.encode()
        case ["plugin_root_id"]:
            return manifest.proxy_wasm.root_id.encode()
        case ["plugin_vm_id"]:
            return manifest.proxy_wasm.vm_id.encode()
        case ["node", "id"]:
            return NODE_ID
        case ["node", "user_agent_name"]:
            return NODE_ID
        case ["node", "user_agent_version"]:
            return HOST_VERSION
        case ["listener_direction"]:
            return _integer(_LISTENER_OUTBOUND)
    return None


def _cluster(flow: Flow) -> bytes:
    """Where the flow goes; other proxies call it a cluster."""
    return flow.request.authority


def read(host: HostSide, path: bytes) -> bytes | None:
    """Return a property of the context at hand, or None."""
    instance = instance_of(host)
    stream = instance.stream
    own = instance.properties if stream is None else stream.properties
    found = own.get(path)
    if found is not None:
        return found
    parts = path.removesuffix(b"\0").decode("utf-8", "replace").split("\0")
    value = _of_plugin(host, parts)
    if value is not None or stream is None:
        return value
    if parts == ["cluster_name"] or parts == ["xds", "cluster_name"]:
        return _cluster(stream.flow)
    group = _GROUPS.get(parts[0])
    return None if group is None or len(parts) == 1 else group(stream, parts[1], parts[2:])


def _get(host: HostSide, pp: int, pn: int, address_at: int, length_at: int) -> int:
    if not host.memory.holds(pp, pn):
        return INVALID_MEMORY
    if pn > PATH_BYTES:
        return NOT_FOUND
    value = read(host, host.memory.read(pp, pn) or b"")
    return NOT_FOUND if value is None else give(host, value, address_at, length_at)


def _set(host: HostSide, pp: int, pn: int, vp: int, vn: int) -> int:
    if not (host.memory.holds(pp, pn) and host.memory.holds(vp, vn)):
        return INVALID_MEMORY
    if not 0 < pn <= PATH_BYTES or vn > PROPERTY_BYTES:
        return BAD_ARGUMENT
    path, value = host.memory.read(pp, pn) or b"", host.memory.read(vp, vn) or b""
    instance = instance_of(host)
    stream = instance.stream
    group, _, name = path.partition(b"\0")
    if stream is not None and group == b"flow":
        return _annotate(stream, name.decode("utf-8", "replace"), value)
    own = instance.properties if stream is None else stream.properties
    return OK if own.set(path, value) else INTERNAL_FAILURE


def _annotate(stream: Stream, name: str, value: bytes) -> int:
    if name not in _ANNOTATIONS or len(value) > ANNOTATION_BYTES:
        return BAD_ARGUMENT
    call = stream.last_call
    if call.annotations is None:
        call.annotations = {}
    call.annotations[name] = value.decode("utf-8", "replace")
    return OK


_I4: Final[tuple[ValueType, ...]] = ("i32",) * 4

FUNCTIONS: Final = (
    HostFunction("proxy_get_property", 0, _I4, "i32", _get),
    HostFunction("proxy_set_property", 0, _I4, "i32", _set),
)
