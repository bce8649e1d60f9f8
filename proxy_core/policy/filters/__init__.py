"""The filter language: `Filter(text)` reads an expression and answers about flows."""

from proxy_core.policy.filters.filter import Filter, MessageFilter

__all__ = ["Filter", "MessageFilter"]
