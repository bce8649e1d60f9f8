from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from proxy_core.api import app as app_module
from proxy_core.api.app import ENDPOINTS, MOST_BODY, Guarded
from proxy_core.control.local import LocalControl
from tests.api.asgi import Client, Connection
from tests.control.cores import RunningCore
from tests.waiting import until


async def test_health_says_who_is_there_without_a_token(api: Client) -> None:
    reply = await api.get("/api/health", authorization=[])
    assert reply.status == 200
    assert reply.document == {"status": "ok", "program": "int3rceptor"}


@pytest.mark.parametrize(
    "path",
    ["/", "/api", "/api/", "/api/plugins/", "/api/nothing", "/api/flows/1/body", "/api/\u2028\x1b"],
)
async def test_unknown_routes_are_404_as_json(api: Client, path: str) -> None:
    reply = await api.get(path)
    assert reply.status == 404
    assert "no route" in reply.document["error"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/plugins", {"GET", "HEAD"}),
        ("GET", "/api/plugins/reload/alpha", {"POST"}),
        ("DELETE", "/api/flows/1", {"GET", "HEAD"}),
        ("BREW", "/api/plugins/alpha/enable", {"POST"}),
    ],
)
async def test_wrong_methods_are_405_with_the_right_ones(
    api: Client, method: str, path: str, allowed: set[str]
) -> None:
    reply = await api(method, path)
    assert reply.status == 405
    assert set(re.split(", *", reply.headers["allow"])) == allowed
    assert f"{method} is not for" in reply.document["error"]


async def test_routes_that_take_no_query_refuse_one(api: Client) -> None:
    reply = await api.get("/api/plugins?limit=1")
    assert reply.status == 400
    assert "unknown query parameter 'limit'; this route takes none" in reply.document["error"]


async def test_a_body_is_read_and_forgotten_up_to_a_bound(api: Client) -> None:
    fields = {"content-length": str(MOST_BODY)}
    path = "/api/plugins/reload/alpha"
    assert (await api("POST", path, fields, b"x" * MOST_BODY)).status == 200
    reply = await api("POST", path, fields, b"x" * (MOST_BODY + 1))
    assert reply.status == 413
    assert reply.headers["connection"] == "close"


async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "BODY_SECONDS", 0.01)
    connection = Connection()
    await api.begin(
        connection, "POST", "/api/plugins/reload/alpha", {"transfer-encoding": "chunked"}
    )
    assert connection.reply().status == 408


async def test_a_client_that_leaves_amid_its_body_commands_nothing(
    core: RunningCore, api: Client
) -> None:
    connection = Connection()
    connection.incoming.put_nowait({"type": "http.request", "body": b"he", "more_body": True})
    connection.leave()
    path = "/api/plugins/alpha/disable"
    await api.begin(connection, "POST", path, {"content-length": "5"})
    assert core.plugins.by_name["alpha"].enabled
    assert connection.reply().status == 400


async def test_a_body_with_two_lengths_is_refused(core: RunningCore, api: Client) -> None:
    fields = {"content-length": "5", "transfer-encoding": "chunked"}
    reply = await api("POST", "/api/plugins/alpha/disable", fields, b"hello")
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert core.plugins.by_name["alpha"].enabled


async def test_a_bug_is_500_as_json_and_tells_nothing(
    core: RunningCore, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: object) -> list[Any]:
        raise KeyError("a secret")

    monkeypatch.setattr(LocalControl, "plugins", broken)
    connection = Connection()
    with pytest.raises(KeyError):  # which the server logs
        await api.begin(connection, "GET", "/api/plugins")
    assert connection.reply().status == 500
    assert "secret" not in connection.text


async def test_a_core_that_has_stopped_is_503(core: RunningCore, api: Client) -> None:
    await asyncio.to_thread(core.stop)
    reply = await api.post("/api/plugins/reload/alpha")
    assert reply.status == 503
    assert "stopped" in reply.document["error"]


async def test_other_protocols_are_let_be(app: Guarded) -> None:
    connection = Connection()
    await app({"type": "lifespan"}, connection.receive, connection.send)
    assert connection.messages == []


async def test_the_description_has_every_route_and_only_those(api: Client) -> None:
    document = (await api.get("/api/openapi.json")).document
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def references(value: object) -> set[str]:
    return set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(value)))


async def test_the_description_s_references_lead_somewhere(api: Client) -> None:
    document = (await api.get("/api/openapi.json")).document
    schemas = document["components"]["schemas"]
    assert {"PluginList", "FlowDocument", "Problem"} <= references(document)
    assert references(document) <= set(schemas)


async def test_the_description_tells_who_needs_a_token_and_what_is_asked(api: Client) -> None:
    document = (await api.get("/api/openapi.json")).document
    paths = document["paths"]
    assert document["security"] == [{"token": []}]
    assert paths["/api/health"]["get"]["security"] == []
    logs = paths["/api/plugins/{name}/logs"]["get"]
    assert [parameter["name"] for parameter in logs["parameters"]] == [
        "name",
        "since",
        "level",
        "follow",
        "limit",
    ]
    assert set(logs["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert set(paths["/api/plugins/reload/{name}"]["post"]["responses"]) == {
        *("200", "400", "401", "403", "404", "409", "422", "default")
    }
    names = [op["operationId"] for path in paths.values() for op in path.values()]
    assert len(names) == len(set(names))


async def test_a_cancelled_stream_leaves_nobody_behind(app: Guarded, api: Client) -> None:
    connection = Connection()
    work = api.begin(connection, "GET", "/api/plugins/alpha/logs?follow=1")
    task = asyncio.get_running_loop().create_task(work)
    await until(lambda: len(app.followers) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(app.followers) == 0
