"""Protocols as pure state machines: bytes in, events out, no IO."""
