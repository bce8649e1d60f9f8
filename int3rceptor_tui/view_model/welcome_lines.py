"""How to point curl, a browser and a shell at the proxy that is running."""

from __future__ import annotations

import shlex

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import CoreStatus

Line = list[tuple[str, str]]


def welcome_lines(status: CoreStatus | None, note: str = "", hints: Hints = BY_ID) -> list[Line]:
    """Return lines of (text, style name) pieces; `note` is what the status bar says instead."""
    if status is None or not status.listening or note:
        return [[], [("INT3RCEPTOR", "heading")], [], [(visible(note), "dim")]]
    address, mode = status.listening[0], status.modes[0]
    lines: list[Line] = [[]]
    for where, how in zip(status.listening, status.modes, strict=False):
        name = [] if how == "regular" else [(f"  {how}", "key")]
        lines.append([("INT3RCEPTOR", "heading"), ("  listens on ", ""), (where, "good"), *name])
    lines += [[("Nothing has come through yet.", "dim")], []]
    if mode.startswith(("reverse:tcp", "reverse:tls")):
        lines.append([("Connect to it instead of to ", ""), (mode.rpartition("//")[2], "key")])
    elif mode.startswith("reverse:"):
        lines += [
            [("Requests go on to ", ""), (mode.removeprefix("reverse:"), "key")],
            [],
            _command(f"curl http://{address}/"),
            _command(f"curl --cacert {shlex.quote(status.ca_path)} https://{address}/"),
        ]
    elif mode == "transparent":
        lines += [
            [("The firewall must turn connections here: see docs/transparent.md", "")],
            [("Clients must trust ", ""), (status.ca_path, "string")],
        ]
    elif mode == "socks5":
        lines += _forward(status.ca_path, address, f"socks5h://{address}", "SOCKS 5")
    else:
        lines += _forward(status.ca_path, address, f"http://{address}", "HTTP and HTTPS")
    return [*lines, *_keys(hints)]


def _forward(ca_path: str, address: str, url: str, kind: str) -> list[Line]:
    """Return how to point clients at a proxy that they know of."""
    if url.startswith("socks"):
        export = f"export all_proxy={url}"
    else:
        export = f"export http_proxy={url} https_proxy=$http_proxy"
    return [
        [("curl", "heading")],
        _command(f"CA={shlex.quote(ca_path)}"),
        _command(f"curl -x {url} --cacert $CA https://example.com/"),
        [],
        [("A shell, and what is started from it", "heading")],
        _command(export),
        _command("export SSL_CERT_FILE=$CA REQUESTS_CA_BUNDLE=$CA NODE_EXTRA_CA_CERTS=$CA"),
        [],
        [("A browser", "heading")],
        [("  Set ", ""), (address, "string"), (f" as its {kind} proxy, and let it", "")],
        [("  trust the authority in ", ""), (ca_path, "string")],
        [("  or open ", "dim"), ("http://int3rceptor.internal/", "string"), (" through it", "dim")],
        [("  Chromium: ", "dim"), (f"--proxy-server={url.replace('5h', '5')}", "string")],
    ]


def _command(text: str) -> Line:
    return [("  $ ", "dim"), (text, "string")]


def _keys(hints: Hints) -> list[Line]:
    words = {
        "app.help": "keys",
        "app.prompt": "commands",
        "screen.plugins": "plugins",
        "app.quit": "quit",
    }
    line: Line = []
    for action, word in words.items():
        line += [("   " if line else "  ", ""), (hints[action].hint, "key"), (f" {word}", "dim")]
    return [[], line]
