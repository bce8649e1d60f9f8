"""The certificate authority: its files, its leaves, the contexts made of them."""

from proxy_core.ca.authority import Authority
from proxy_core.ca.contexts import ServerContexts

__all__ = ["Authority", "ServerContexts"]
