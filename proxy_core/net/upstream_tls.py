"""TLS towards origins: whom we trust, and what we say when we do not.

Contexts are shared, because reading the system's roots costs 20 ms. Certificates are verified by
name (RFC 9525) against the system's roots and `upstream_ca`, unless the user says otherwise, for
all hosts or for some.
"""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy_core.errors import (
    ConfigError,
    ConnectionLost,
    ConnectionTimeout,
    Int3rceptorError,
    TlsError,
)

_MAX_CONTEXTS = 16
_HTTP = frozenset(("h2", "http/1.1"))
_ANY_OTHER = ("other",)

_ANYWAY = "pass --insecure-hosts REGEX for such hosts, or --insecure for all, to accept it anyway"
_TRUST = f"pass --upstream-ca FILE if its CA is yours; or {_ANYWAY}"

_VERIFY_FAULTS = {
    9: ("the certificate of {host} is not valid yet", f"check this machine's clock, or {_ANYWAY}"),
    10: ("the certificate of {host} has expired", _ANYWAY),
    18: ("the certificate of {host} is self-signed", _TRUST),
    19: ("the certificate of {host} comes from a CA that is not trusted here", _TRUST),
    20: ("the certificate of {host} comes from a CA that is not known here", _TRUST),
    21: ("the certificate of {host} comes from a CA that is not known here", _TRUST),
    23: ("the certificate of {host} was revoked", _ANYWAY),
    26: ("the certificate of {host} was not made for servers", _ANYWAY),
    62: ("the certificate of {host} is for other names", _ANYWAY),
    64: ("the certificate of {host} is for other addresses", _ANYWAY),
    66: ("the key in the certificate of {host} is too weak", _ANYWAY),
    67: ("the key of a CA of {host} is too weak", _ANYWAY),
    68: ("a signature in the certificate chain of {host} is too weak", _ANYWAY),
}
"""By OpenSSL's X509_V_ERR_ numbers."""

_OLD = ("{host} speaks no TLS version {versions}", "{older}")
_PLAIN = ("{host} does not speak TLS on this port", "use http:// or another port")
_CLOSED = (
    "{host} closed the connection during the TLS handshake",
    "see whether it speaks TLS {versions} on this port and serves that name",
)
_HANDSHAKE_FAULTS = {
    "unsupported protocol": _OLD,
    "tlsv1 alert protocol version": _OLD,
    "wrong ssl version": _OLD,
    "wrong version number": _PLAIN,
    "http request": _PLAIN,
    "record layer failure": _PLAIN,
    "packet length too long": _PLAIN,
    "unexpected eof while reading": _CLOSED,
    "sslv3 alert handshake failure": (
        "{host} found no cipher or protocol that both sides accept",
        "see what it supports",
    ),
    "tlsv1 alert no application protocol": (
        "{host} accepts none of the protocols offered by ALPN",
        "see what it supports",
    ),
    "tlsv1 unrecognized name": (
        "{host} serves nothing under that name",
        "check the name",
    ),
    "tlsv13 alert certificate required": (
        "{host} wants a client certificate",
        "pass --client-cert HOST=FILE with one",
    ),
    "unsafe legacy renegotiation disabled": (
        "{host} knows no secure renegotiation (RFC 5746)",
        f"use a newer server; {_ANYWAY}",
    ),
    "dh key too small": (
        "{host} uses a key exchange that is too weak",
        f"use a newer server; {_ANYWAY}",
    ),
}
"""By the reason, in OpenSSL's words."""

_LEGACY_SERVER_CONNECT = 0x4
"""OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT, which Python names from 3.12 on."""

_CLOSINGS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError, ConnectionLost, TlsError)
"""OpenSSL is the cause of every TlsError but the one that says that the peer has closed."""


_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


_VERIFIED_FROM = "1.2"
_UNVERIFIED_FROM = "1.0"
"""Who takes any certificate gains nothing by refusing old servers, and wants to see them."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What the user wants of TLS with origins; fields as in `Settings`."""

    upstream_ca: Path | None = None
    insecure: bool = False
    insecure_hosts: tuple[str, ...] = ()
    minimum: str = ""
    maximum: str = "1.3"
    ciphers: str = ""
    client_certs: Mapping[str, Path] = field(default_factory=dict)


class UpstreamTls:
    """Makes the client contexts of one core, and keeps them.

    `context` may be called on two threads at once: at worst one is made twice, and the first kept.
    """

    def __init__(self, policy: TlsPolicy | None = None) -> None:
        """Raises ConfigError where the policy contradicts itself, or a file is no good."""
        self._policy = policy = policy or TlsPolicy()
        self._extra = None if policy.upstream_ca is None else _read_roots(policy.upstream_ca)
        self._lax = [re.compile(pattern, re.IGNORECASE) for pattern in policy.insecure_hosts]
        self._contexts: dict[tuple[tuple[str, ...], bool, Path | None], ssl.SSLContext] = {}
        minimum = policy.minimum or _VERIFIED_FROM
        if _VERSIONS[minimum] > _VERSIONS[policy.maximum]:
            raise ConfigError(
                f"upstream_tls_min = {minimum} is above upstream_tls_max = "
                f"{policy.maximum}; set upstream_tls_min to that, or lower"
            )
        self._make((), False, None)  # as for the ciphers
        for path in set(policy.client_certs.values()):
            self._make((), False, path)  # whatever is wrong with it is told now

    def context(self, alpn: tuple[str, ...] = (), host: str = "", port: int = 0) -> ssl.SSLContext:
        """Return the context for an origin, which offers the protocols `alpn`, in that order.

        It is for one session, to be made at once: what is no HTTP shares a context, whose protocols
        are others the next time. A client could make up any number of lists.
        """
        policy = self._policy
        verify = not policy.insecure
        if verify and self._lax:
            verify = not any(pattern.search(f"{host}:{port}") for pattern in self._lax)
        certificate = policy.client_certs.get(host.lower()) or policy.client_certs.get("*")
        is_http = _HTTP.issuperset(alpn)
        key = (alpn if is_http else _ANY_OTHER, verify, certificate)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts.setdefault(key, self._make(*key))
            if len(self._contexts) > _MAX_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
        if not is_http:
            context.set_alpn_protocols(alpn)
        return context

    def _make(
        self, alpn: tuple[str, ...], verify: bool, certificate: Path | None
    ) -> ssl.SSLContext:
        policy = self._policy
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        minimum = policy.minimum or (_VERIFIED_FROM if verify else _UNVERIFIED_FROM)
        with warnings.catch_warnings():  # the user wants what Python calls deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = _VERSIONS[minimum]
            context.maximum_version = _VERSIONS[policy.maximum]
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        if not verify:
            context.options |= _LEGACY_SERVER_CONNECT
        _set_ciphers(context, policy.ciphers, minimum)
        if alpn:
            context.set_alpn_protocols(alpn)
        if certificate is not None:
            _show_certificate(context, certificate)
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        # The same on every Python: a trusted intermediate is enough, as in 3.13, but what browsers
        # let pass is not refused for its form, as 3.13 would.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.hostname_checks_common_name = False  # RFC 9110, section 4.3.4
        context.load_default_certs()
        if self._extra is not None:
            context.load_verify_locations(cadata=self._extra)
        return context


def _set_ciphers(context: ssl.SSLContext, ciphers: str, minimum: str) -> None:
    if not ciphers and minimum in ("1.0", "1.1"):
        ciphers = "DEFAULT:@SECLEVEL=0"  # OpenSSL signs nothing for these versions above it
    if not ciphers:
        return
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError as error:
        raise ConfigError(
            f"upstream_ciphers = {ciphers!r}: OpenSSL knows none of them; "
            "see `openssl ciphers` for what there is"
        ) from error


def _show_certificate(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_cert_chain(path, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"client_certs: {path} holds no certificate with its key, unencrypted; "
            "put both into one PEM file"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"client_certs: {path} cannot be read ({(error.strerror or str(error)).lower()}); "
            "name a PEM file with certificate and key"
        ) from error


def _no_password() -> str:
    """Answer OpenSSL instead of the terminal, which is the console's."""
    return ""


def _read_roots(path: Path) -> str | bytes:
    """Return the certificates in a file in the form that contexts take."""
    try:
        data = path.read_bytes()
        # Bundles have comments in any language round the blocks; contexts take ASCII alone.
        roots = data.decode("ascii", "ignore") if b"-----BEGIN" in data else data
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=roots)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"upstream_ca: {path} holds no certificate; name a file with PEM certificates"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"upstream_ca: {path} cannot be read ({(error.strerror or str(error)).lower()}); "
            "name a file with PEM certificates"
        ) from error
    return roots


def describe_tls_error(error: BaseException, host: str, context: ssl.SSLContext) -> str:
    """Say what went wrong in a TLS handshake with `host`, and what can be done about it.

    `error` is what `ssl` raised, or an error of ours with that as its cause; `context` the one
    that was used.
    """
    if isinstance(error, Int3rceptorError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = (f"the certificate of {{host}} is refused: {error.verify_message}", _ANYWAY)
        fact, remedy = _VERIFY_FAULTS.get(error.verify_code, unknown)
    elif isinstance(error, _CLOSINGS):
        fact, remedy = _CLOSED
    elif isinstance(error, TimeoutError | ConnectionTimeout):
        fact, remedy = "{host} did not finish the TLS handshake in time", "try again"
    elif isinstance(error, ssl.SSLError):
        reason = _reason(error)
        unknown = (f"TLS with {{host}} failed: {reason}", "see what it supports")
        fact, remedy = _HANDSHAKE_FAULTS.get(reason, unknown)
    elif isinstance(error, ValueError):  # of which UnicodeError is one
        fact, remedy = f"{{host}} is no name that TLS can ask for ({error})", "check the name"
    else:
        fact, remedy = f"TLS with {{host}} failed: {error}", "try again"
    versions, older = _range(context)
    told = f"{fact}; {remedy}".replace("{older}", older).replace("{versions}", versions)
    return told.replace("{host}", host)


def _range(context: ssl.SSLContext) -> tuple[str, str]:
    """Say which versions a context takes, and how an older one can be had."""
    names = {number: name for name, number in _VERSIONS.items()}
    lowest, highest = names[context.minimum_version], names[context.maximum_version]
    versions = f"from {lowest} on" if highest == "1.3" else f"from {lowest} to {highest}"
    if lowest == "1.0":
        return versions, "use a newer server"
    return versions, "pass --upstream-tls-min 1.0 to take any, or use a newer server"


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's words; Python has them as a name too, for the reasons that it knows."""
    words = re.sub(r"^\[SSL[^]]*\] | \(_ssl\.c:\d+\)$", "", error.strerror or str(error))
    return (error.reason or words).replace("_", " ").lower()
