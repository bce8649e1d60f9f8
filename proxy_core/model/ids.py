"""Identities that cross module edges."""

from __future__ import annotations

from typing import NewType

FlowId = NewType("FlowId", int)
"""Counts up from 1 within one core; also the number the console shows."""

ConnectionId = NewType("ConnectionId", int)
"""Counts up from 1 within one core, client and server connections alike."""
