from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Serve = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the user's is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INT3_")}
    homes = {name: str(tmp_path / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    return kept | homes


@pytest.fixture
def serve(environment: dict[str, str], tmp_path: Path) -> Iterator[Serve]:
    """Starts `serve` with a data directory and a free port, unless arguments say otherwise."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        defaults = ["--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data")]
        process = subprocess.Popen(
            [sys.executable, "-m", "int3rceptor_tui.cli", "serve", *defaults, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | variables,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def listening(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("listening on "), process.stderr and process.stderr.read()
    host, _, port = line.removeprefix("listening on ").strip().rpartition(":")
    return host, int(port)


def test_it_says_where_it_listens_and_does(serve: Serve) -> None:
    address = listening(serve())
    assert address[0] == "127.0.0.1"
    socket.create_connection(address).close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_it_cleanly_with_clients_connected(
    serve: Serve, number: signal.Signals
) -> None:
    process = serve()
    address = listening(process)
    with socket.create_connection(address), socket.create_connection(address) as busy:
        busy.sendall(b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n")
        process.send_signal(number)
        output, log = process.communicate()
    assert process.returncode == 0
    assert output == ""
    assert "Traceback" not in log
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_taken_port_is_one_line_that_says_what_to_do(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = serve("--listen", f"127.0.0.1:{port}")
        output, log = process.communicate()
    complaints = [line for line in log.splitlines() if line.startswith("int3rceptor-tui: ")]
    assert process.returncode == 1
    assert output == ""
    assert len(complaints) == 1
    assert f"port {port} is taken" in complaints[0]
    assert "--listen" in complaints[0]
    assert "Traceback" not in log


def test_unknown_setting_is_refused_by_name(serve: Serve, tmp_path: Path) -> None:
    process = serve(INT3_LISEN="127.0.0.1:1")
    assert process.communicate() == (
        "",
        "int3rceptor-tui: unknown setting INT3_LISEN in the environment; "
        "the nearest one is INT3_LISTEN\n",
    )
    assert process.returncode == 2
    assert not (tmp_path / "data").exists()


def test_ca_lies_in_the_data_directory_and_is_private(serve: Serve, tmp_path: Path) -> None:
    process = serve()
    listening(process)
    directory = tmp_path / "data/ca"
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert modes == {"int3rceptor-ca.key": 0o600, "int3rceptor-ca.pem": 0o644}
    process.terminate()
    assert f"let clients trust {directory}/int3rceptor-ca.pem" in process.communicate()[1]


def test_key_open_to_others_is_closed_and_the_log_says_so(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    listening(first)
    first.terminate()
    first.wait()
    key = tmp_path / "data/ca/int3rceptor-ca.key"
    key.chmod(0o644)
    second = serve()
    listening(second)
    second.terminate()
    assert "was open to other users (mode 0644); it is 0600 now" in second.communicate()[1]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_damaged_ca_is_one_line_and_exit_code_1(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "data/ca").mkdir(parents=True, mode=0o700)
    (tmp_path / "data/ca/int3rceptor-ca.key").write_text("nonsense")
    process = serve()
    log = process.communicate()[1]
    assert process.returncode == 1
    assert "int3rceptor-ca.key holds no private key" in log
    assert "Traceback" not in log


def test_unreadable_upstream_ca_is_refused(serve: Serve) -> None:
    process = serve("--upstream-ca", "/no/such/file")
    log = process.communicate()[1]
    assert process.returncode == 2
    assert "upstream_ca: /no/such/file cannot be read" in log


def test_closed_standard_streams_are_harmless(environment: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    command = f"exec {sys.executable} -m int3rceptor_tui.cli serve --listen 127.0.0.1:{address[1]}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"{command} --data-dir {tmp_path}/data <&- >&-"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        while process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(address).close()
                break
            time.sleep(0.05)
        process.terminate()
        log = process.communicate()[1]
        assert process.returncode == 0, log
    finally:
        process.kill()
