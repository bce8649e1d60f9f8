"""Answers that are complete before the request's body was read: curl gets each, and no failure.

A client that is cut off while it still sends may lose what it was told. Some answers are the
proxy's own (a plugin's, a refusal), some an origin's that wants to hear no more.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.listener import Listener
from tests.e2e.harness import BackgroundOrigin, Curl, ProxyProcess, free_ports

MIB = 1024 * 1024

pytestmark = pytest.mark.tools("curl")

MOCK = Path(__file__).resolve().parents[2] / "plugins" / "mock"
ANSWERS = "".join(
    f'[[config.answers]]\nmethod = "PUT"\nprefix = "/{status}"\nstatus = {status}\n'
    'body = "mocked"\n'
    for status in (200, 403)
)


async def enough(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as soon as the head is there, then wait for the other side to end it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 413 Enough\r\nContent-Length: 6\r\n\r\nenough")
    while await reader.read(65536):
        pass


class EarlyOrigin:
    """Origins that read no body, in the clear and in TLS."""

    def __init__(self, origin: BackgroundOrigin, certificate: OriginCertificate) -> None:
        self._origin = origin
        self._listeners = Listener(enough), Listener(enough, certificate.server_context("http/1.1"))
        for listener in self._listeners:
            origin.call(listener.open)
        self.http, self.https = (listener.port for listener in self._listeners)

    def close(self) -> None:
        for listener in self._listeners:
            self._origin.call(listener.close)


@pytest.fixture(scope="module")
def early(origin: BackgroundOrigin, certificate: OriginCertificate) -> Iterator[EarlyOrigin]:
    listening = EarlyOrigin(origin, certificate)
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def reverse_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def answering(
    certificate: OriginCertificate,
    early: EarlyOrigin,
    reverse_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ProxyProcess]:
    """A proxy with a plugin that answers, in front of the early origin as well."""
    directory = tmp_path_factory.mktemp("early")
    plugins = directory / "plugins"
    shutil.copytree(MOCK, plugins / "mock")
    manifest = plugins / "mock" / "plugin.toml"
    kept = manifest.read_text(encoding="utf-8").partition("[[config.answers]]")[0]
    manifest.write_text(kept + ANSWERS, encoding="utf-8")
    with ProxyProcess.running(
        directory,
        *("--upstream-ca", str(certificate.ca_file), "--plugins", str(plugins)),
        *("--mode", "regular@127.0.0.1:0"),
        *("--mode", f"reverse:http://127.0.0.1:{early.http}@127.0.0.1:{reverse_port}"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "large"
    path.write_bytes(bytes(5_000_000))
    return path


# (path or where, status, what the body says)
ANSWERED = {
    "by a plugin": ("/200", 200, b"mocked"),
    "refused by a plugin": ("/403", 403, b"mocked"),
    "by the origin": ("/", 413, b"enough"),
}
each_answer = pytest.mark.parametrize(
    ("path", "status", "says"), ANSWERED.values(), ids=ANSWERED.keys()
)


@each_answer
@pytest.mark.parametrize("way", ["--http2 https", "--http1.1 https", "--http1.1 http"])
def test_upload_that_is_answered_early_ends_with_its_answer(
    answering: ProxyProcess,
    early: EarlyOrigin,
    large: Path,
    tmp_path: Path,
    way: str,
    path: str,
    status: int,
    says: bytes,
) -> None:
    flag, scheme = way.split()
    host = "127.0.0.1" if scheme == "http" else "localhost"
    url = f"{scheme}://{host}:{getattr(early, scheme)}{path}"
    answer = Curl(answering, tmp_path)(url, flag, "-T", str(large), "-H", "Expect:")
    assert (answer.code, answer.status, answer.body) == (0, status, says), answer.problem
    assert answer.version == ("2" if flag == "--http2" else "1.1")


@pytest.mark.parametrize("flag", ["--http2", "--http1.1"])
def test_upload_to_an_origin_that_is_not_there_ends_with_why(
    answering: ProxyProcess, large: Path, tmp_path: Path, flag: str
) -> None:
    (port,) = free_ports(1)
    url = f"https://localhost:{port}/"
    answer = Curl(answering, tmp_path)(url, flag, "-T", str(large), "-H", "Expect:")
    assert (answer.code, answer.status) == (0, 502), answer.problem


@pytest.mark.parametrize("flag", ["--http2", "--http1.1"])
def test_upload_that_goes_on_for_too_long_is_cut_and_takes_no_memory(
    answering: ProxyProcess, early: EarlyOrigin, tmp_path: Path, flag: str
) -> None:
    endless = tmp_path / "endless"
    with endless.open("wb") as file:
        file.truncate(60 * MIB)
    before = answering.memory()
    url = f"https://localhost:{early.https}/200"
    # Over HTTP/2 it does not see the reset: once it is answered it only sends.
    answer = Curl(answering, tmp_path)(url, flag, "-T", str(endless), "-H", "Expect:", limit=2)
    assert answer.code != 0
    assert (answer.status, answer.body) == (200, b"mocked")  # it came all the same
    assert answering.memory() - before < 8 * MIB


@each_answer
def test_upload_with_prior_knowledge_that_is_answered_early_ends_with_its_answer(
    answering: ProxyProcess,
    reverse_port: int,
    large: Path,
    tmp_path: Path,
    path: str,
    status: int,
    says: bytes,
) -> None:
    url = f"http://127.0.0.1:{reverse_port}{path}"
    answer = Curl(None, tmp_path)(url, "--http2-prior-knowledge", "-T", str(large))
    assert (answer.code, answer.status, answer.body) == (0, status, says), answer.problem


def test_upload_without_the_proxys_password_ends_with_the_question_for_it(
    tmp_path: Path, large: Path, early: EarlyOrigin
) -> None:
    with ProxyProcess.running(tmp_path, "--proxy-auth", "me:secret") as closed:
        url = f"http://127.0.0.1:{early.http}/"
        answer = Curl(closed, tmp_path)(url, "-T", str(large), "-H", "Expect:")
    assert (answer.code, answer.status) == (0, 407), answer.problem
