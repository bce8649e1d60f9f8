"""The two modules of a desk, compiled."""

from __future__ import annotations

from dataclasses import dataclass

import wasmtime

from proxy_core.plugin_host.runtime.desk_text import Shape, back_text, front_text


@dataclass(frozen=True, slots=True)
class DeskCode:
    """What makes a desk for guests of one shape."""

    shape: Shape
    front: wasmtime.Module
    back: wasmtime.Module

    @classmethod
    def compile(cls, engine: wasmtime.Engine, shape: Shape) -> DeskCode:
        """Compile both; takes some milliseconds."""
        front, back = (
            wasmtime.Module(engine, text) for text in (front_text(shape), back_text(shape))
        )
        return cls(shape, front, back)
