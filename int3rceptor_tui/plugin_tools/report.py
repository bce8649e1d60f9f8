"""How the tools tell people and scripts what they found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from int3rceptor_tui.log_printer import escaped
from proxy_core.plugin_host.abi import Declared
from proxy_core.plugin_host.inspection import PAGE, ImportFinding, Inspection


def print_document(document: dict[str, Any]) -> None:
    """Print JSON for scripts."""
    print(json.dumps(document, indent=2, ensure_ascii=True))


def print_line_document(document: dict[str, Any]) -> None:
    """Print JSON on one line, at once: for scripts that read along."""
    print(json.dumps(document, ensure_ascii=True), flush=True)


def failure_of(error: str, output: str = "") -> dict[str, Any]:
    """What went wrong, as JSON takes it; `output` is what a compiler said.

    It is printed on one line, as it may end a row of documents that are lines.
    """
    return {"success": False, "error": error, "output": output}


def print_lines(lines: Iterator[str]) -> None:
    """Print lines for people."""
    for line in lines:
        print(line)


def document_of(found: Inspection) -> dict[str, Any]:
    """An inspection as JSON takes it."""
    manifest = found.manifest
    return {
        "name": found.name,
        "path": str(found.source.path),
        "loadable": not found.problems,
        "abi": found.abi or None,
        "module": None if found.module is None else str(found.module),
        "bytes": found.size,
        "sha256": found.digest or None,
        "hooks": list(found.hooks),
        "not_called": list(found.not_called),
        "imports": [_import_document(item) for item in found.imports],
        "exports": [
            {"name": item.name, "kind": item.kind, "type": type_of(item)} for item in found.exports
        ],
        "memory": None
        if found.memory is None
        else {"pages": found.memory[0], "most_pages": found.memory[1]},
        "manifest": None
        if manifest is None
        else {
            "bare": found.source.bare,
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "priority": manifest.priority,
            "enabled": manifest.enabled,
            "on_failure": manifest.on_failure,
            "single_instance": manifest.single_instance,
            "permissions": list(manifest.permissions.names()),
            "limits": {
                name: getattr(manifest.limits, name) for name in type(manifest.limits).__slots__
            },
            "config": json.loads(manifest.config),
        },
        "problems": list(found.problems),
        "notes": list(found.notes),
    }


def _import_document(item: ImportFinding) -> dict[str, Any]:
    return {
        "module": item.declared.module,
        "name": item.declared.name,
        "type": type_of(item.declared),
        "since": item.since,
        "permissions": list(item.permissions),
        "withheld": list(item.withheld),
        "problem": item.problem,
    }


def type_of(item: Declared) -> str | None:
    """A function's type as text; None for anything else."""
    if item.signature is None:
        return None
    params, results = item.signature
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def lines_of(found: Inspection) -> Iterator[str]:
    """An inspection for people."""
    manifest = found.manifest
    title = " ".join(part for part in (found.name, manifest and manifest.version) if part)
    yield escaped(f"{title}: {found.source.path}")
    if manifest is not None:
        if manifest.description:
            yield f"  {escaped(manifest.description)}"
        yield f"  manifest: {'none, the defaults hold' if found.source.bare else 'plugin.toml'}"
        permissions = ", ".join(manifest.permissions.names()) or "none"
        yield f"  permissions: {permissions}"
        limits = manifest.limits
        yield (
            f"  limits: {limits.fuel} fuel, {limits.deadline_ms} ms, {limits.memory_mb} MiB, "
            f"{limits.log_lines_per_second} log lines/s; on failure {manifest.on_failure}"
        )
    if found.size:
        yield escaped(f"  module: {found.module}, {found.size} bytes, sha256 {found.digest}")
        yield f"  abi: {found.abi or 'none that this host runs'}"
        yield f"  hooks: {', '.join(found.hooks) or 'none'}"
    if found.memory is not None:
        first, most = found.memory
        grows = "as far as limits.memory_mb" if most is None else f"to {most * PAGE // 1024} KiB"
        yield f"  memory: {first * PAGE // 1024} KiB, may grow {grows}"
    if found.imports:
        yield "  imports:"
        for item in found.imports:
            yield "    " + escaped(_import_line(item, found.foreign))
    if found.exports:
        yield "  exports:"
        for export in found.exports:
            yield escaped(f"    {export.name} {type_of(export) or export.kind}")
    for note in found.notes:
        yield f"  note: {escaped(note)}"
    for problem in found.problems:
        yield f"  refused: {escaped(problem)}"
    if not found.problems:
        yield "  would be loaded"


def _import_line(item: ImportFinding, foreign: bool) -> str:
    declared = item.declared
    parts = [f"{declared.module}.{declared.name} {type_of(declared) or declared.kind}"]
    if item.since is None:
        parts.append("unknown")
    elif not foreign:
        parts.append(f"since v{item.since}")
    if item.permissions:
        parts.append(f"needs {' and '.join(item.permissions)}")
    if item.withheld:
        parts.append(f"not permitted: {' and '.join(item.withheld)}")
    return ", ".join(parts)
