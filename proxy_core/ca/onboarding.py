"""The proxy's own pages, at the host `int3rceptor.internal`: its certificate, and how to trust it.

Pure: a request's method and path in, an answer out. No scripts and nothing from elsewhere, for
they are read by clients that trust nothing yet, in the clear.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy_core.ca.authority import Authority
from proxy_core.ca.export import export
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import ResponseHead

Answer = tuple[ResponseHead, bytes]

_FILE = "int3rceptor-ca"


@dataclass(frozen=True, slots=True)
class _Platform:
    name: str
    steps: tuple[str, ...]
    """Commands begin with "$ "."""


_PLATFORMS = (
    _Platform(
        "Debian, Ubuntu",
        (
            f"$ sudo cp {_FILE}.pem /usr/local/share/ca-certificates/{_FILE}.crt",
            "$ sudo update-ca-certificates",
        ),
    ),
    _Platform(
        "Fedora, RHEL",
        (f"$ sudo cp {_FILE}.pem /etc/pki/ca-trust/source/anchors/", "$ sudo update-ca-trust"),
    ),
    _Platform("Arch", (f"$ sudo trust anchor --store {_FILE}.pem",)),
    _Platform(
        "macOS",
        (
            "$ sudo security add-trusted-cert -d -r trustRoot"
            f" -k /Library/Keychains/System.keychain {_FILE}.pem",
        ),
    ),
    _Platform(
        "Windows",
        (f"$ certutil -addstore -f ROOT {_FILE}.der", "as administrator; -user for yourself alone"),
    ),
    _Platform(
        "Android",
        (
            "Settings, Security, Encryption and credentials, Install a certificate, CA certificate:"
            f" {_FILE}.der. Apps trust it only if they say so in their network security"
            " configuration.",
        ),
    ),
    _Platform(
        "iOS, iPadOS",
        (
            f"Open {_FILE}.der in Safari; Settings, Profile Downloaded, Install; then General,"
            " About, Certificate Trust Settings: switch it on.",
        ),
    ),
    _Platform(
        "Firefox",
        (f"Settings, Certificates, View Certificates, Authorities, Import: {_FILE}.pem",),
    ),
    _Platform(
        "Chromium on Linux",
        (f"$ certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n {_FILE} -i {_FILE}.pem",),
    ),
    _Platform("curl", (f"$ curl --cacert {_FILE}.pem https://example.com/",)),
    _Platform("Python", (f"$ export SSL_CERT_FILE={_FILE}.pem REQUESTS_CA_BUNDLE={_FILE}.pem",)),
    _Platform("Node.js", (f"$ export NODE_EXTRA_CA_CERTS={_FILE}.pem",)),
    _Platform("Go, Ruby", (f"$ export SSL_CERT_FILE={_FILE}.pem",)),
    _Platform(
        "Java",
        (f"$ keytool -importcert -cacerts -noprompt -alias {_FILE} -file {_FILE}.pem",),
    ),
    _Platform("git", (f"$ git config --global http.sslCAInfo $PWD/{_FILE}.pem",)),
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;"
    "background:#101418;color:#d0d4d8}a{color:#5fafd7}h2{font-size:1em;margin:1.2em 0 .2em}"
    "pre{background:#1d242c;padding:.5em;overflow:auto;margin:.2em 0}"
)


class OwnPages:
    """Answers requests for the proxy itself."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._files: dict[str, tuple[str, str, Callable[[], bytes]]] = {
            "/cert/pem": (
                "application/x-pem-file",
                f"{_FILE}.pem",
                lambda: export(authority, "pem"),
            ),
            "/cert/der": (
                "application/x-x509-ca-cert",
                f"{_FILE}.der",
                lambda: export(authority, "der"),
            ),
            "/cert/p12": (
                "application/x-pkcs12",
                f"{_FILE}.p12",
                lambda: export(authority, "p12"),
            ),
        }

    def answer(self, method: bytes, target: bytes) -> Answer:
        """Return the page or file at a path; the body is empty for HEAD."""
        path = target.partition(b"?")[0].decode("latin-1")
        if method not in (b"GET", b"HEAD"):
            return _answer(method, 405, "text/plain", b"GET or HEAD\n", [(b"Allow", b"GET, HEAD")])
        if path in ("/", ""):
            return _answer(method, 200, "text/html; charset=utf-8", self._page())
        found = self._files.get(path)
        if found is None:
            text = b"There is nothing here; the certificate is at http://int3rceptor.internal/\n"
            return _answer(method, 404, "text/plain", text)
        kind, name, content = found
        saved = (b"Content-Disposition", b'attachment; filename="%b"' % name.encode())
        return _answer(method, 200, kind, content(), [saved])

    def _page(self) -> bytes:
        fingerprint = _fingerprint(self._authority)
        steps = "".join(_section(platform) for platform in _PLATFORMS)
        return (
            "<!doctype html><html lang=en><meta charset=utf-8>"
            '<meta name=viewport content="width=device-width">'
            f"<title>INT3RCEPTOR</title><style>{_STYLE}</style><h1>INT3RCEPTOR</h1>"
            "<p>You are talking through the proxy. To see what is in HTTPS it signs certificates"
            " with an authority of its own, which your client has to trust. Trust it only where"
            " you want to be intercepted.</p>"
            "<p>The certificate: <a href=/cert/pem>PEM</a> · <a href=/cert/der>DER</a> ·"
            " <a href=/cert/p12>PKCS #12</a></p>"
            f"<p>SHA-256: <code>{fingerprint}</code><br>Compare it with <code>openssl x509 -noout"
            " -fingerprint -sha256 -in $(int3rceptor-tui ca path)</code> on the proxy's machine."
            f"</p>{steps}</html>\n"
        ).encode()


def _section(platform: _Platform) -> str:
    lines = "".join(
        f"<pre>{html.escape(step)}</pre>"
        if step.startswith("$ ")
        else f"<p>{html.escape(step)}</p>"
        for step in platform.steps
    )
    return f"<h2>{html.escape(platform.name)}</h2>{lines}"


def _fingerprint(authority: Authority) -> str:
    digest = authority.fingerprint.hex().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _answer(
    method: bytes, status: int, kind: str, body: bytes, fields: Sequence[Field] = ()
) -> Answer:
    headers = Headers(
        [
            (b"Content-Type", kind.encode()),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
            (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
            *fields,
        ]
    )
    return ResponseHead(status, b"", headers), b"" if method == b"HEAD" else body
