"""The demo site: what each path does. Ordinary pages, and every trouble an origin can make."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from int3rceptor_tui.demo import content
from int3rceptor_tui.demo.messages import Fields, Reply, Request

Handler = Callable[["Site", Request, Reply], Awaitable[None]]

_CACHE = (b"cache-control", b"public, max-age=3600")
_SESSION = (
    (b"set-cookie", b"session=0c9a5d; Path=/; HttpOnly; SameSite=Lax"),
    (b"set-cookie", b"theme=dark; Path=/"),
)


class Site:
    """Answers requests. `pause` is awaited before each ordinary answer, to seem like a network."""

    def __init__(self, pause: Callable[[], Awaitable[None]] | None = None) -> None:
        self._pause = pause
        self._gates: dict[int, _Gate] = {}

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        if self._pause is not None:
            await self._pause()
        handler = _EXACT.get(request.path)
        if handler is None:
            first = "/" + request.path.split("/")[1] + "/" if request.path[:1] == "/" else ""
            handler = _PREFIXES.get(first, _not_found)
        await handler(self, request, reply)

    def gate(self, size: int) -> _Gate:
        """Return the gate that opens when `size` requests stand before it."""
        gate = self._gates.get(size)
        if gate is None or gate.opened.is_set():
            gate = self._gates[size] = _Gate()
        return gate


class _Gate:
    """Where requests wait for each other."""

    def __init__(self) -> None:
        self.waiting = 0
        self.opened = asyncio.Event()


def _last(request: Request) -> str:
    return request.path.rpartition("/")[2]


def _count(request: Request) -> int:
    last = _last(request)
    return int(last) if last.isdecimal() else 0


async def _index(site: Site, request: Request, reply: Reply) -> None:
    await reply.answer(200, "text/html; charset=utf-8", content.PAGE.encode())


async def _asset(site: Site, request: Request, reply: Reply) -> None:
    if _last(request).endswith(".js"):
        body, kind, encoding = content.SCRIPT, "text/javascript; charset=utf-8", "br"
    else:
        body, kind, encoding = content.STYLE, "text/css; charset=utf-8", "gzip"
    fields = [(b"content-encoding", encoding.encode()), _CACHE]
    await reply.answer(200, kind, content.ENCODERS[encoding](body.encode()), fields)


async def _page(site: Site, request: Request, reply: Reply) -> None:
    encoding = _last(request)
    encode = content.ENCODERS.get(encoding)
    if encode is None:
        await _not_found(site, request, reply)
        return
    fields = [(b"content-encoding", encoding.encode()), (b"vary", b"accept-encoding")]
    await reply.answer(200, "text/html; charset=utf-8", encode(content.PAGE.encode()), fields)


async def _image(site: Site, request: Request, reply: Reply) -> None:
    await reply.answer(200, "image/png", content.picture(), [_CACHE])


async def _users(site: Site, request: Request, reply: Reply) -> None:
    page = max(1, int(request.number("page", 1)))
    users = [content.user(number) for number in range(page * 20 - 19, page * 20 + 1)]
    await _json(reply, 200, {"page": page, "users": users})


async def _user(site: Site, request: Request, reply: Reply) -> None:
    number = _count(request)
    if not 0 < number < 10_000:
        await _json(reply, 404, {"error": f"there is no user {_last(request)!r}"})
        return
    if request.method == "DELETE":
        await reply.head(204, [])
        await reply.finish()
        return
    await _json(reply, 200, content.user(number))


async def _login(site: Site, request: Request, reply: Reply) -> None:
    await request.read()
    await _json(reply, 200, {"ok": True, "token": "demo.token.value"}, _SESSION)


async def _orders(site: Site, request: Request, reply: Reply) -> None:
    try:
        order = json.loads(await request.read() or b"{}")
    except ValueError as error:
        await _json(reply, 422, {"error": f"the body is not JSON: {error}"})
        return
    fields = [(b"location", b"/api/orders/4711")]
    await _json(reply, 201, {"id": 4711, "state": "accepted", "order": order}, fields)


async def _echo(site: Site, request: Request, reply: Reply) -> None:
    kind = (request.record.values(b"content-type") or [b"application/octet-stream"])[0]
    length = request.record.values(b"content-length")
    fields = [(b"content-type", kind)] + [(b"content-length", value) for value in length[:1]]
    if b"100-continue" in request.record.values(b"expect"):
        await reply.inform(100, ())  # behind the answer's head it would be too late
    await reply.head(200, fields)
    async for piece in request.pieces():
        await reply.send(piece)
    await reply.finish(request.record.trailers)


async def _upload(site: Site, request: Request, reply: Reply) -> None:
    async for _ in request.pieces():
        pass
    await _json(reply, 200, {"size": request.record.size, "sha256": request.record.sha256})


async def _bytes(site: Site, request: Request, reply: Reply) -> None:
    size = _count(request)
    kind = (b"content-type", b"application/octet-stream")
    await reply.head(200, [kind, (b"content-length", str(size).encode())])
    if request.method != "HEAD":
        for piece in content.pattern(size):
            await reply.send(piece)
    await reply.finish()


async def _redirect(site: Site, request: Request, reply: Reply) -> None:
    left = _count(request)
    target = f"/redirect/{left - 1}" if left > 1 else "/"
    await reply.answer(302, "text/plain", b"moved\n", [(b"location", target.encode())])


async def _cookies(site: Site, request: Request, reply: Reply) -> None:
    sent = [value.decode("latin-1") for value in request.record.values(b"cookie")]
    await _json(reply, 200, {"cookies": sent}, _SESSION)


async def _status(site: Site, request: Request, reply: Reply) -> None:
    status = _count(request)
    if not 200 <= status <= 599:
        await _not_found(site, request, reply)
    elif status in (204, 304):
        await reply.head(status, [])
        await reply.finish()
    else:
        await reply.answer(status, "text/plain; charset=utf-8", f"status {status}\n".encode())


async def _slow(site: Site, request: Request, reply: Reply) -> None:
    delay = request.number("delay", 0.2)
    await reply.head(200, [(b"content-type", b"text/plain; charset=utf-8")])
    for number in range(int(request.number("pieces", 5))):
        if number:
            await asyncio.sleep(delay)
        await reply.send(f"piece {number}\n".encode())
    await reply.finish()


async def _events(site: Site, request: Request, reply: Reply) -> None:
    delay = request.number("delay", 0.3)
    await reply.head(
        200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    )
    for number in range(int(request.number("count", 5))):
        await reply.send(b'id: %d\nevent: tick\ndata: {"n":%d}\n\n' % (number, number))
        await asyncio.sleep(delay)
    await reply.finish()


async def _trailers(site: Site, request: Request, reply: Reply) -> None:
    kind = (b"content-type", b"text/plain; charset=utf-8")
    await reply.head(200, [kind, (b"trailer", b"x-checksum, x-lines")])
    for number in range(3):
        await reply.send(f"line {number}\n".encode())
    await reply.finish([(b"x-checksum", b"5f70bf18"), (b"x-lines", b"3")])


async def _headers(site: Site, request: Request, reply: Reply) -> None:
    fields = [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.record.fields]
    target = request.record.target.decode("latin-1")
    await _json(reply, 200, {"version": request.record.version, "target": target, "fields": fields})


async def _connection(site: Site, request: Request, reply: Reply) -> None:
    await reply.answer(200, "text/plain", b"%d\n" % request.connection.number)


async def _hop_by_hop(site: Site, request: Request, reply: Reply) -> None:
    """Fields that concern this hop alone (RFC 9110, section 7.6.1)."""
    fields = [
        (b"connection", b"x-private"),
        (b"x-private", b"between origin and proxy"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-authenticate", b"Basic"),
        (b"x-public", b"for the client"),
    ]
    await reply.answer(200, "text/plain", b"ok\n", fields)


async def _hints(site: Site, request: Request, reply: Reply) -> None:
    await reply.inform(103, [(b"link", b"</assets/style.css>; rel=preload; as=style")])
    await _index(site, request, reply)


async def _together(site: Site, request: Request, reply: Reply) -> None:
    """Answer when as many requests are here as the path says: none could do so alone."""
    wanted = _count(request)
    gate = site.gate(wanted)
    gate.waiting += 1
    if gate.waiting >= wanted:
        gate.opened.set()
    await gate.opened.wait()
    await reply.answer(200, "text/plain", b"%d together\n" % gate.waiting)


async def _reset(site: Site, request: Request, reply: Reply) -> None:
    reply.abort()


async def _cut(site: Site, request: Request, reply: Reply) -> None:
    """Break off in the middle of a body."""
    await reply.head(200, [(b"content-type", b"text/plain"), (b"content-length", b"1000")])
    await reply.send(b"only the beginning\n")
    reply.cut()


async def _stall(site: Site, request: Request, reply: Reply) -> None:
    if _last(request) == "body":
        await reply.head(200, [(b"content-type", b"text/plain")])
        await reply.send(b"more follows, some day\n")
    await reply.until_gone()


async def _not_found(site: Site, request: Request, reply: Reply) -> None:
    await _json(reply, 404, {"error": f"there is no {request.path!r} here"})


async def _json(reply: Reply, status: int, value: object, fields: Fields = ()) -> None:
    await reply.answer(status, "application/json", content.as_json(value), fields)


_EXACT: dict[str, Handler] = {
    "/": _index,
    "/api/login": _login,
    "/api/orders": _orders,
    "/api/users": _users,
    "/connection": _connection,
    "/cookies": _cookies,
    "/cut": _cut,
    "/echo": _echo,
    "/events": _events,
    "/headers": _headers,
    "/hints": _hints,
    "/hop-by-hop": _hop_by_hop,
    "/redirect": _redirect,
    "/reset": _reset,
    "/slow": _slow,
    "/stall": _stall,
    "/trailers": _trailers,
    "/upload": _upload,
}

_PREFIXES: dict[str, Handler] = {
    "/api/": _user,
    "/assets/": _asset,
    "/bytes/": _bytes,
    "/images/": _image,
    "/pages/": _page,
    "/redirect/": _redirect,
    "/stall/": _stall,
    "/status/": _status,
    "/together/": _together,
}
