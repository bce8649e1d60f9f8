"""What the operators ask of a flow: trees become functions of a flow.

A flow may be anywhere on its way. What is not there yet does not match, so that `!` of it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Field
from proxy_core.model.message import Body, RequestHead, ResponseHead
from proxy_core.policy.filters.nodes import And, Is, Leaf, Matches, Node, Not, Or, Within
from proxy_core.policy.filters.operators import OPERATORS
from proxy_core.policy.filters.patterns import SEARCHED, Search, compile_search
from proxy_core.policy.filters.ranges import Range, parse_range
from proxy_core.wire.content_coding import decode_body

Predicate = Callable[[Flow], bool]
T = TypeVar("T")

_ASSETS = compile_search(
    r"^(text/(javascript|css)|application/(x-)?javascript|application/font|image/|font/)"
)


def compile_node(node: Node) -> Predicate:
    """Return the function of a flow that a tree stands for."""
    return combine(node, compile_leaf)


def compile_leaf(leaf: Leaf) -> Predicate:
    """Return the function that one operator stands for."""
    match leaf:
        case Is(name):
            return _PLAIN[name]
        case Matches(name):
            return _SEARCHING[name](search_of(leaf))
        case Within(name, text):
            return _measuring(_MEASURES[name], parse_range(text, OPERATORS[name].operand))


def search_of(leaf: Matches) -> Search:
    """Return what searches for an operator's regular expression."""
    operator = OPERATORS[leaf.operator]
    return compile_search(leaf.pattern, lines=operator.lines, binary=operator.binary)


def combine(node: Node, leaf: Callable[[Leaf], Callable[[T], bool]]) -> Callable[[T], bool]:
    """Return the function that a tree stands for, where `leaf` knows that of each operator."""
    match node:
        case Is() | Matches() | Within():
            return leaf(node)
        case Not(operand):
            inner = combine(operand, leaf)
            return lambda subject: not inner(subject)
        case And(operands):
            return _every([combine(operand, leaf) for operand in operands])
        case Or(operands):
            return _any([combine(operand, leaf) for operand in operands])


def _every(parts: list[Callable[[T], bool]]) -> Callable[[T], bool]:
    def every(subject: T) -> bool:
        for part in parts:  # noqa: SIM110 - twice as quick as all() of a generator
            if not part(subject):
                return False
        return True

    return every


def _any(parts: list[Callable[[T], bool]]) -> Callable[[T], bool]:
    def some(subject: T) -> bool:
        for part in parts:  # noqa: SIM110
            if part(subject):
                return True
        return False

    return some


# --- without an operand


def _never(flow: Flow) -> bool:
    return False


def _is_asset(flow: Flow) -> bool:
    return flow.response is not None and _types_match(flow.response.fields, _ASSETS)


def _is_marked(flow: Flow) -> bool:
    return bool(flow.annotations and flow.annotations.get("mark"))


def _is_replayed(flow: Flow) -> bool:
    return bool(flow.annotations and flow.annotations.get("replay"))


_PLAIN: dict[str, Predicate] = {
    "a": _is_asset,
    "all": lambda flow: True,
    "dns": _never,
    "e": lambda flow: flow.error is not None,
    "held": lambda flow: flow.state is FlowState.HELD,
    "http": lambda flow: flow.kind is not FlowKind.TUNNEL,
    "marked": _is_marked,
    "q": lambda flow: flow.response is None and flow.kind is not FlowKind.TUNNEL,
    "replay": _is_replayed,
    "replayq": lambda flow: (flow.annotations or {}).get("replay") == "request",
    "replays": lambda flow: (flow.annotations or {}).get("replay") == "response",
    "s": lambda flow: flow.response is not None and flow.kind is not FlowKind.TUNNEL,
    "tcp": lambda flow: flow.kind is FlowKind.TUNNEL,
    "udp": _never,
    "websocket": lambda flow: flow.web_socket is not None,
}


# --- regular expressions

_Heads = Callable[[Flow], tuple[RequestHead | ResponseHead | None, ...]]
_Texts = Callable[[Flow], Iterator[bytes]]


def _types_match(fields: list[Field], search: Search) -> bool:
    return any(name.lower() == b"content-type" and search(value) for name, value in fields)


def _in_types(heads: _Heads) -> Callable[[Search], Predicate]:
    def make(search: Search) -> Predicate:
        def match(flow: Flow) -> bool:
            return any(
                head is not None and _types_match(head.fields, search) for head in heads(flow)
            )

        return match

    return make


def _in_headers(heads: _Heads) -> Callable[[Search], Predicate]:
    def make(search: Search) -> Predicate:
        def match(flow: Flow) -> bool:
            for head in heads(flow):
                if head is None:
                    continue
                if search(b"\n".join([b"%b: %b" % field for field in head.fields])):
                    return True
            return False

        return match

    return make


def _in_texts(texts: _Texts) -> Callable[[Search], Predicate]:
    def make(search: Search) -> Predicate:
        return lambda flow: any(map(search, texts(flow)))

    return make


def _in_text(text: Callable[[Flow], bytes]) -> Callable[[Search], Predicate]:
    def make(search: Search) -> Predicate:
        return lambda flow: search(text(flow))

    return make


def _in_annotation(key: str) -> Callable[[Search], Predicate]:
    def make(search: Search) -> Predicate:
        def match(flow: Flow) -> bool:
            annotations = flow.annotations
            value = annotations.get(key) if annotations else None
            return bool(value) and search((value or "").encode(errors="replace"))

        return match

    return make


def _url(flow: Flow) -> bytes:
    request = flow.request
    return b"%b://%b%b" % (request.scheme.encode(), request.authority, request.path)


def _hosts(flow: Flow) -> Iterator[bytes]:
    host = flow.request.host.encode(errors="replace")
    yield host
    # A reverse proxy may send on a Host that is not the origin's name.
    for name, value in flow.request.fields:
        if name.lower() == b"host" and not value.startswith(host):
            yield value


def _client(flow: Flow) -> bytes:
    return b"%b:%d" % (flow.client.peer[0].encode(), flow.client.peer[1])


def _servers(flow: Flow) -> Iterator[bytes]:
    server = flow.server
    if server is None:
        yield b"%b:%d" % (flow.request.host.encode(errors="replace"), flow.request.port)
        return
    yield b"%b:%d" % (server.host.encode(errors="replace"), server.port)
    if server.peer is not None and server.peer[0] != server.host:
        yield b"%b:%d" % (server.peer[0].encode(), server.peer[1])


def _metadata(flow: Flow) -> bytes:
    pairs = (flow.annotations or {}).items()
    return "\n".join(f"{key}: {value}" for key, value in pairs).encode(errors="replace")


def _body(head: RequestHead | ResponseHead | None, body: Body, whole: bytes | None) -> bytes:
    data = body.kept if whole is None else whole
    if not data or head is None:
        return data
    codings = [value for name, value in head.fields if name.lower() == b"content-encoding"]
    if not codings:
        return data
    return decode_body(data, b",".join(codings).decode("latin-1"), SEARCHED).data


def _request_texts(flow: Flow) -> Iterator[bytes]:
    # `whole` is the body of the message that hooks decide about.
    whole = flow.whole if flow.response is None else None
    head = None if flow.kind is FlowKind.TUNNEL else flow.request
    yield _body(head, flow.request_body, None if whole is None else whole.data)
    yield from _messages(flow, from_client=True)


def _response_texts(flow: Flow) -> Iterator[bytes]:
    whole = flow.whole if flow.response is not None else None
    head = None if flow.kind is FlowKind.TUNNEL else flow.response
    yield _body(head, flow.response_body, None if whole is None else whole.data)
    yield from _messages(flow, from_client=False)


def _messages(flow: Flow, from_client: bool) -> Iterator[bytes]:
    if flow.web_socket is not None:
        for message in flow.web_socket.snapshot():
            if message.from_client is from_client:
                yield message.payload


def _all_texts(flow: Flow) -> Iterator[bytes]:
    yield from _request_texts(flow)
    yield from _response_texts(flow)


def _joined(parts: tuple[str, ...]) -> bytes:
    return "\n".join(parts).encode(errors="replace")


_SEARCHING: dict[str, Callable[[Search], Predicate]] = {
    "b": _in_texts(_all_texts),
    "bq": _in_texts(_request_texts),
    "bs": _in_texts(_response_texts),
    "by": _in_texts(lambda flow: (name.encode(errors="replace") for name in flow.edited_by)),
    "colour": _in_annotation("colour"),
    "comment": _in_annotation("comment"),
    "d": _in_texts(_hosts),
    "dst": _in_texts(_servers),
    "h": _in_headers(lambda flow: (flow.request, flow.response)),
    "hq": _in_headers(lambda flow: (flow.request,)),
    "hs": _in_headers(lambda flow: (flow.response,)),
    "m": _in_text(lambda flow: flow.request.method),
    "marker": _in_annotation("mark"),
    "meta": _in_text(_metadata),
    "note": _in_text(lambda flow: _joined(flow.notes)),
    "src": _in_text(_client),
    "t": _in_types(lambda flow: (flow.request, flow.response)),
    "tag": _in_annotation("tag"),
    "tq": _in_types(lambda flow: (flow.request,)),
    "ts": _in_types(lambda flow: (flow.response,)),
    "u": _in_text(_url),
}


# --- numbers


def _measuring(measure: Callable[[Flow], float | None], wanted: Range) -> Predicate:
    def match(flow: Flow) -> bool:
        value = measure(flow)
        return value is not None and value in wanted

    return match


_MEASURES: dict[str, Callable[[Flow], float | None]] = {
    "c": lambda flow: None if flow.response is None else flow.response.status,
    "id": lambda flow: flow.id,
    "size": lambda flow: flow.request_body.size + flow.response_body.size,
    "sizeq": lambda flow: flow.request_body.size,
    "sizes": lambda flow: flow.response_body.size,
    "time": lambda flow: None if flow.ended is None else flow.ended - flow.started,
}
