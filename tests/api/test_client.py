from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from proxy_core.api import client as client_module
from proxy_core.api.client import ApiClient
from proxy_core.errors import ApiError, ApiUnreachable

SECRET = b"correct-horse-battery-staple"
Serve = Callable[..., ApiClient]


def answer(status: int, body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


@pytest.fixture
def requests() -> list[bytes]:
    return []


@pytest.fixture
def serve(requests: list[bytes]) -> Iterator[Serve]:
    """Answers one connection after the other as told, and then no more."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(*answers: bytes) -> ApiClient:
        def run() -> None:
            for text in answers:
                connection, _ = listener.accept()
                with connection:
                    requests.append(connection.recv(65536))
                    connection.sendall(text)
            listener.close()

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return ApiClient("127.0.0.1", listener.getsockname()[1], SECRET)

    yield start
    for thread in threads:
        thread.join()
    listener.close()


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_document_is_no_core_s(serve: Serve, body: bytes) -> None:
    with pytest.raises(ApiUnreachable, match="is no core; pass --api"):
        serve(answer(200, body)).ask("GET", ("plugins",))


def test_a_core_is_asked_with_the_token_and_names_escaped(
    serve: Serve, requests: list[bytes]
) -> None:
    client = serve(answer(200, b'{"total": 1}'))
    assert client.ask("POST", ("plugins", "a/b c"), {"x": "1&2", "y": None}) == {"total": 1}
    head = requests[0].split(b"\r\n")
    assert head[0] == b"POST /api/plugins/a%2Fb%20c?x=1%262 HTTP/1.1"
    assert b"Authorization: Bearer " + SECRET in head


def test_the_token_is_not_shown_to_find_out_who_is_there(
    serve: Serve, requests: list[bytes]
) -> None:
    serve(answer(200, b'{"status": "ok", "program": "int3rceptor"}')).check()
    assert SECRET not in requests[0]


@pytest.mark.parametrize(
    "text",
    [
        answer(200, b'{"status": "ok"}'),
        answer(200, b"<html>", b"text/html"),
        answer(200, b"[" * 100_000),
        answer(404, b"[]"),
    ],
)
def test_another_program_on_the_port_is_told(serve: Serve, text: bytes) -> None:
    with pytest.raises(ApiUnreachable, match="is no core; pass --api"):
        serve(text).check()


@pytest.mark.parametrize(
    "text", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_what_does_not_speak_http_to_its_end_is_told(serve: Serve, text: bytes) -> None:
    with pytest.raises(ApiUnreachable):
        serve(text).check()


def test_nobody_there_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ApiUnreachable) as caught:
        ApiClient("127.0.0.1", port, SECRET).check()
    assert str(caught.value) == (
        f"no core answers at 127.0.0.1:{port}; start one with int3rceptor-tui serve --api, "
        "or pass --api"
    )


def test_a_core_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_HEALTH_PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ApiClient("127.0.0.1", silent.getsockname()[1], SECRET)
        with pytest.raises(ApiUnreachable, match="does not answer in time"):
            client.check()


def test_what_a_core_says_against_it_is_passed_on(serve: Serve) -> None:
    with pytest.raises(ApiError, match="no such plugin") as caught:
        serve(answer(404, b'{"success": false, "error": "no such plugin"}')).ask("POST", ("x",))
    assert caught.value.status == 404


def test_a_token_that_is_refused_is_told_with_what_to_do_and_not_itself(serve: Serve) -> None:
    client = serve(answer(401, b'{"error": "wrong"}'))
    with pytest.raises(ApiUnreachable, match="--api-token-file") as caught:
        client.ask("GET", ("plugins",))
    assert SECRET.decode() not in f"{caught.value} {client!r}"


def test_events_are_read_as_they_come_and_comments_are_not(serve: Serve) -> None:
    stream = (
        b': following\n\nevent: log\nid: 1\ndata: {"seq": 1}\n\n'
        b': still here\n\nevent: lost\ndata: {"lost": 3}\n\nevent: log\nid: 2\n'
    )
    client = serve(answer(200, stream, b"text/event-stream"))
    events = list(client.follow(("plugins", "a", "logs"), {}))
    assert [(event.kind, event.data) for event in events] == [
        ("log", {"seq": 1}),
        ("lost", {"lost": 3}),
    ]


def test_a_stream_that_is_refused_says_why(serve: Serve) -> None:
    with pytest.raises(ApiError, match="no plugin"):
        list(serve(answer(404, b'{"error": "no plugin"}')).follow(("x",), {}))
