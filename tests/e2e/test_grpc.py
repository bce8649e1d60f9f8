"""gRPC through the proxy: grpcio on both ends, the proxy's CA trusted, messages as they come."""

from __future__ import annotations

import importlib.util
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.e2e.harness import ProxyProcess

if importlib.util.find_spec("grpc") is None:
    pytest.skip("not installed: grpcio", allow_module_level=True)

import grpc

pytestmark = pytest.mark.filterwarnings("default")  # grpcio's threads, not ours


def _upper(request: bytes, context: Any) -> bytes:
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", "2"), ("x-bytes-bin", b"\x00\xff")))
    return request.upper()


def _fail(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("x-why", "because"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today, señor")
    raise AssertionError


def _count(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


def _sum(requests: Iterator[bytes], context: Any) -> bytes:
    return b"%d" % sum(len(request) for request in requests)


def _echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for request in requests:
        yield request[::-1]


def _hang(request: bytes, context: Any) -> Iterator[bytes]:
    yield b"begun"
    gone = queue.Queue[bool]()
    context.add_callback(lambda: gone.put(True))
    cancelled.put(gone.get(timeout=10))


cancelled: queue.Queue[bool] = queue.Queue()


@pytest.fixture(scope="module")
def server(certificate: OriginCertificate) -> Iterator[int]:
    pool = ThreadPoolExecutor(8)
    running = grpc.server(pool)
    handlers = {
        "Upper": grpc.unary_unary_rpc_method_handler(_upper),
        "Fail": grpc.unary_unary_rpc_method_handler(_fail),
        "Count": grpc.unary_stream_rpc_method_handler(_count),
        "Sum": grpc.stream_unary_rpc_method_handler(_sum),
        "Echo": grpc.stream_stream_rpc_method_handler(_echo),
        "Hang": grpc.unary_stream_rpc_method_handler(_hang),
    }
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", handlers),))
    pem = certificate.chain_file.read_bytes()
    port = running.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
    running.start()
    yield port
    running.stop(0).wait()
    pool.shutdown()


@pytest.fixture
def channel(proxy: ProxyProcess, server: int) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(proxy.ca.read_bytes())
    options = [("grpc.http_proxy", proxy.url)]
    with grpc.secure_channel(f"localhost:{server}", credentials, options) as opened:
        yield opened


def test_unary_call_with_metadata_both_ways(channel: grpc.Channel) -> None:
    answer, call = channel.unary_unary("/t.Test/Upper").with_call(b"hello", timeout=10)
    assert answer == b"HELLO"
    assert ("x-initial", "1") in call.initial_metadata()
    assert ("x-trailing", "2") in call.trailing_metadata()
    assert ("x-bytes-bin", b"\x00\xff") in call.trailing_metadata()
    assert call.code() is grpc.StatusCode.OK


def test_message_larger_than_windows(channel: grpc.Channel) -> None:
    body = b"x" * 3_000_000
    assert channel.unary_unary("/t.Test/Upper")(body, timeout=15) == b"X" * 3_000_000


def test_error_keeps_its_status_text_and_trailers(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.Test/Fail")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "not today, señor"
    assert ("x-why", "because") in caught.value.trailing_metadata()


def test_method_that_does_not_exist(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.Test/Nothing")(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_stream_from_the_server(channel: grpc.Channel) -> None:
    answers = list(channel.unary_stream("/t.Test/Count")(b"2000", timeout=15))
    assert answers == [b"%d" % number for number in range(2000)]


def test_stream_from_the_client(channel: grpc.Channel) -> None:
    pieces = (b"x" * size for size in range(1000))
    assert channel.stream_unary("/t.Test/Sum")(pieces, timeout=15) == b"499500"


def test_streams_both_ways_answer_each_message_before_the_next(channel: grpc.Channel) -> None:
    to_send: queue.Queue[bytes | None] = queue.Queue()
    answers = channel.stream_stream("/t.Test/Echo")(iter(to_send.get, None), timeout=15)
    for number in range(300):
        to_send.put(b"%d." % number)
        assert next(answers) == (b"%d." % number)[::-1]
    to_send.put(None)
    assert list(answers) == []
    assert answers.code() is grpc.StatusCode.OK


def test_cancel_reaches_the_server(channel: grpc.Channel) -> None:
    call = channel.unary_stream("/t.Test/Hang")(b"", timeout=15)
    assert next(call) == b"begun"
    call.cancel()
    assert cancelled.get(timeout=10)


def test_deadline_is_kept_by_the_client(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(channel.unary_stream("/t.Test/Hang")(b"", timeout=0.5))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert cancelled.get(timeout=10)
