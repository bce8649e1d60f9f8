"""What is told of a plugin: one snapshot of everything, for consoles and the API."""

from __future__ import annotations

from proxy_core.model.plugin_status import PluginState, PluginStatus
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.plugin import Plugin


def status_of(plugin: Plugin) -> PluginStatus:
    """Return a snapshot. May be called from any thread."""
    manifest, generation, loading = plugin.manifest, plugin.generation, plugin.loading
    contract = None if generation is None else generation.blueprint.contract
    profile = plugin.belongings.profile
    path = plugin.source.path
    if manifest is not None:
        path = path.parent / manifest.wasm
    return PluginStatus(
        name=plugin.name,
        version="" if manifest is None else manifest.version,
        description="" if manifest is None else manifest.description,
        abi="" if contract is None else contract.name,
        state=_state_of(plugin),
        enabled=plugin.enabled,
        path=str(path),
        hooks=tuple(hook.export for hook in codes.HOOKS if hook in plugin.hooks),
        permissions=() if manifest is None else manifest.permissions.names(),
        generation=plugin.generations,
        calls=profile.calls,
        traps=profile.traps,
        fuel_used=profile.fuel,
        time_used=profile.seconds,
        log_lines=plugin.log.written,
        log_dropped=plugin.log.dropped,
        last_error=plugin.standing.last_error,
        metrics=plugin.belongings.metrics.snapshot(),
        state_bytes=plugin.belongings.state.size,
        profile=profile.snapshot(),
        memory_pages=profile.pages,
        asked=plugin.belongings.permits.asked,
        instances=0 if generation is None else generation.count,
        quarantined_for=plugin.standing.health.rests_for,
        stores=len(plugin.belongings.stores),
        phase=None if loading is None else loading.phase,
        loading_for=0.0 if loading is None else loading.seconds,
        load_seconds=plugin.load_seconds,
        compared=plugin.compared,
        watched=plugin.watched,
    )


def _state_of(plugin: Plugin) -> PluginState:
    if plugin.loading is not None:
        return PluginState.LOADING
    if not plugin.enabled:
        return PluginState.DISABLED
    if plugin.generation is None:
        return PluginState.REFUSED if plugin.standing.refused else PluginState.DISCOVERED
    if plugin.standing.health.is_quarantined():
        return PluginState.QUARANTINED
    return PluginState.FAILING if plugin.standing.health.is_failing() else PluginState.READY
