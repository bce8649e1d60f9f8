"""Making a plugin's next version, aside, while the one before it is at work."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from proxy_core.model.plugin_status import LoadPhase
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.belongings.grants import Grants, hash_of, wanted_by
from proxy_core.plugin_host.code_cache import CodeCache
from proxy_core.plugin_host.dialects import dialect_among
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, export_names, read_file
from proxy_core.plugin_host.generation import Blueprint
from proxy_core.plugin_host.guest import Engine, Guest
from proxy_core.plugin_host.loading import Loading
from proxy_core.plugin_host.logs import StartLog


def read_plugin(source: Source) -> tuple[Manifest, bytes]:
    """Return a plugin's manifest, with the limits that its ABI gives it, and its module; blocks.

    The limits decide which engine is to compile the module, so they cannot wait until it is.
    Raises ManifestError and ModuleRefused.
    """
    manifest, path = source.read()
    data = read_file(path, MODULE_BYTES)
    if dialect_among(export_names(data)) is not None:
        manifest = manifest.for_foreign()
    return manifest, data


@dataclass(frozen=True, slots=True)
class Built:
    """A plugin's new version, ready to take over."""

    blueprint: Blueprint
    guest: Guest
    seconds: float


@dataclass(frozen=True, slots=True)
class Builder:
    """What versions are built with."""

    engine: Engine
    grants: Grants
    cache: CodeCache | None

    def build(
        self,
        manifest: Manifest,
        data: bytes,
        base: Path,
        belongings: Belongings,
        log: StartLog,
        loading: Loading,
    ) -> Built:
        """Compile and start a module's bytes; blocks. `base` is the manifest's directory.

        Raises ModuleRefused and GuestFailure.
        """
        began = time.perf_counter()
        permits = self.grants.permits(manifest.name, hash_of(data), wanted_by(manifest, base))
        belongings = replace(belongings, permits=permits)
        loading.enter(LoadPhase.COMPILING)
        blueprint = Blueprint.draw(self.engine, manifest, data, belongings, self.cache)
        loading.enter(LoadPhase.STARTING)
        guest = blueprint.build(log)
        return Built(blueprint, guest, time.perf_counter() - began)


def close_unused(building: asyncio.Future[Built]) -> None:
    """Close what was built when nobody waited for it any more."""
    if not building.cancelled() and building.exception() is None:
        building.result().guest.close()
