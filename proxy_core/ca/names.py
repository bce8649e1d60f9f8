"""Which name a leaf certificate carries for a host: RFC 5280, section 4.2.1.6, and IDNA 2008."""

from __future__ import annotations

import ipaddress
import re

from cryptography import x509

from proxy_core.errors import CaError
from proxy_core.model.host_names import MAX_HOST_NAME, to_a_labels

_LABELS = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
# Underscores and outer hyphens are no host name's by RFC 952, but the web has them.


def general_name(host: str) -> x509.DNSName | x509.IPAddress:
    """Return the subject alternative name for `host`: an IP address, or a DNS name in A-labels.

    Brackets round IPv6, an IPv6 zone and a trailing dot are dropped; a leading `*.` is kept.
    Raises CaError where no certificate can name the host.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return x509.IPAddress(ipaddress.ip_address(bare.partition("%")[0]))
    except ValueError:
        return x509.DNSName(_dns_name(host))


def _dns_name(host: str) -> str:
    try:
        name = to_a_labels(host.lower().removesuffix("."))
    except ValueError as error:
        raise _refusal(host) from error
    if len(name) > MAX_HOST_NAME or not _LABELS.fullmatch(name):
        raise _refusal(host)
    return name


def _refusal(host: str) -> CaError:
    shown = ascii(host if len(host) <= 80 else host[:80] + "...")
    return CaError(
        f"{shown} is no host name that a certificate can carry; "
        "use a DNS name of at most 253 characters or an IP address"
    )
