"""The certificate authority: its files, its leaves, the contexts made of them."""

from proxy_core.ca.authority import Authority
from proxy_core.ca.contexts import ServerContexts
from proxy_core.ca.own_authority import load_authority

__all__ = ["Authority", "ServerContexts", "load_authority"]
