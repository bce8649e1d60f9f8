"""How exchanges in HTTP/1 commonly begin, and end."""

from __future__ import annotations

from pathlib import Path

from tests.faults.world import ORIGIN, World
from tests.net.wires import Peer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PASSWORD = b"Basic dXNlcjpwYXNz"


def hashed_passwords() -> dict[str, object]:
    """Settings by which clients have to say who they are, with `PASSWORD`."""
    file = Path(__file__).with_name("htpasswd")
    return {"proxy_auth": f"@{file}"}


def where(world: World) -> bytes:
    return b"%b:%d" % (ORIGIN.encode(), world.origin.port)


def head(world: World, method: bytes = b"GET", *lines: bytes) -> bytes:
    """A request's head in absolute form."""
    name = where(world)
    first = b"%b http://%b/ HTTP/1.1" % (method, name)
    return b"\r\n".join([first, b"Host: " + name, *lines, b"", b""])


async def ask(world: World, method: bytes = b"GET", *lines: bytes) -> tuple[Peer, Peer]:
    """Send a request's head; return the client, and the origin that has read it."""
    client = world.client()
    await client.send(head(world, method, *lines))
    origin = await world.accept()
    await origin.read_head()
    return client, origin


async def answer(world: World, client: Peer, origin: Peer) -> None:
    """Answer, and be read."""
    await origin.send(OK)
    assert (await client.read_until(b"ok")).startswith(b"HTTP/1.1 200 ")
    world.answered += 1


async def serve(world: World, client: Peer, origin: Peer | None = None) -> None:
    """Answer the request that is on its way, on a new connection where there is none."""
    origin = origin or await world.accept()
    await origin.read_head()
    await answer(world, client, origin)


async def keep_one(world: World) -> tuple[Peer, Peer]:
    """Let an exchange leave a connection to the origin behind."""
    client, origin = await ask(world)
    await answer(world, client, origin)
    await world.until(lambda: world.pool._idle_count)
    return client, origin


async def be_turned_away(client: Peer, request: bytes, status: int) -> None:
    """Send what is not served, and be told so; that is the end of the connection."""
    await client.send(request)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 %d " % status)
