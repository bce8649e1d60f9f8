"""How to point curl, a browser and a shell at the proxy that is running."""

from __future__ import annotations

import shlex

from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import CoreStatus

Line = list[tuple[str, str]]


def welcome_lines(status: CoreStatus | None, note: str = "") -> list[Line]:
    """Return lines of (text, style name) pieces; `note` is what the status bar says instead."""
    if status is None or not status.listening or note:
        return [[], [("INT3RCEPTOR", "heading")], [], [(visible(note), "dim")]]
    address = status.listening[0]
    reverse = next((mode for mode in status.modes if mode.startswith("reverse:")), None)
    title: list[Line] = [
        [],
        [("INT3RCEPTOR", "heading"), ("  listens on ", ""), (address, "good")],
        [("Nothing has come through yet.", "dim")],
        [],
    ]
    if reverse is not None:
        origin = reverse.removeprefix("reverse:")
        return [
            *title,
            [("Requests go on to ", ""), (origin, "key")],
            [],
            _command(f"curl http://{address}/"),
            _command(f"curl --cacert {shlex.quote(status.ca_path)} https://{address}/"),
            *_keys(),
        ]
    return [
        *title,
        [("curl", "heading")],
        _command(f"CA={shlex.quote(status.ca_path)}"),
        _command(f"curl -x http://{address} --cacert $CA https://example.com/"),
        [],
        [("A shell, and what is started from it", "heading")],
        _command(f"export http_proxy=http://{address} https_proxy=$http_proxy"),
        _command("export SSL_CERT_FILE=$CA REQUESTS_CA_BUNDLE=$CA NODE_EXTRA_CA_CERTS=$CA"),
        [],
        [("A browser", "heading")],
        [("  Set ", ""), (address, "string"), (" as its HTTP and HTTPS proxy, and let it", "")],
        [("  trust the authority in ", ""), (status.ca_path, "string")],
        [("  Chromium: ", "dim"), (f"--proxy-server=http://{address}", "string")],
        *_keys(),
    ]


def _command(text: str) -> Line:
    return [("  $ ", "dim"), (text, "string")]


def _keys() -> list[Line]:
    return [
        [],
        [
            ("  ?", "key"),
            (" keys   ", "dim"),
            (":", "key"),
            (" commands   ", "dim"),
            ("2", "key"),
            (" plugins   ", "dim"),
            ("Q", "key"),
            (" quit", "dim"),
        ],
    ]
