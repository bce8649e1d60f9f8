"""Name constraints (RFC 5280, section 4.2.1.10): which hosts a CA may sign for.

Clients would refuse the leaf anyway; here its host is told why.
"""

from __future__ import annotations

from cryptography import x509

from proxy_core.errors import CaError


def check_constraints(authority: x509.Certificate, name: x509.DNSName | x509.IPAddress) -> None:
    """Raise CaError where `authority` may not sign for `name`."""
    try:
        limits = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return
    permitted = _of_kind(limits.permitted_subtrees, name)
    excluded = _of_kind(limits.excluded_subtrees, name)
    if any(_within(name, tree) for tree in excluded) or (
        permitted and not any(_within(name, tree) for tree in permitted)
    ):
        raise CaError(
            f"the CA may not sign for {name.value}: its name constraints leave it out; "
            "pass this host through with --ignore-hosts, or use another CA"
        )


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
