"""Name constraints (RFC 5280, section 4.2.1.10): which hosts a CA may sign for.

Clients would refuse the leaf anyway; here its host is told why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cryptography import x509

from proxy_core.errors import CaError


def constraints_of(certificates: Iterable[x509.Certificate]) -> tuple[x509.NameConstraints, ...]:
    """Return the constraints of a CA and those above it: all of them count for its leaves."""
    found = []
    for certificate in certificates:
        try:
            found.append(certificate.extensions.get_extension_for_class(x509.NameConstraints).value)
        except x509.ExtensionNotFound:
            continue
    return tuple(found)


def check_constraints(
    constraints: Sequence[x509.NameConstraints], name: x509.DNSName | x509.IPAddress
) -> None:
    """Raise CaError where `name` may not be signed for."""
    if not all(_allows(limits, name) for limits in constraints):
        raise CaError(
            f"the CA may not sign for {name.value}: its name constraints leave it out; "
            "pass this host through with --ignore-hosts, or use another CA"
        )


def _allows(limits: x509.NameConstraints, name: x509.DNSName | x509.IPAddress) -> bool:
    permitted = _of_kind(limits.permitted_subtrees, name)
    excluded = _of_kind(limits.excluded_subtrees, name)
    if any(_within(name, tree) for tree in excluded):
        return False
    return not permitted or any(_within(name, tree) for tree in permitted)


def _of_kind(
    trees: list[x509.GeneralName] | None, name: x509.GeneralName
) -> list[x509.GeneralName]:
    return [tree for tree in trees or () if isinstance(tree, type(name))]


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool:
    if isinstance(name, x509.IPAddress):
        network = tree.value
        return name.value.version == network.version and name.value in network
    host, domain = str(name.value).lower(), str(tree.value).lower()
    if domain.startswith("."):  # not in the standard for hosts, and OpenSSL takes it: below only
        return host.endswith(domain)
    return not domain or host == domain or host.endswith("." + domain)
