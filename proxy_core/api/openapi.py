"""The API's description of itself (OpenAPI 3.1), made of the table of routes and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from proxy_core.api.calls import Endpoint, Parameter
from proxy_core.api.documents import Problem

_NAMES: Final = re.compile(r"\{(\w+)\}")
_REFERENCE: Final = "#/components/schemas/{name}"
_TEXTS: Final = {
    200: "Done.",
    400: "The request cannot be understood; the error says what to give instead.",
    401: "No token, or a wrong one.",
    403: "The Host is not one of this API's.",
    404: "There is no such thing.",
    409: "Not as things are: it is disabled, or being reloaded already.",
    422: "The plugin cannot be loaded; the error says why.",
    503: "Too many ask at once.",
}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description as JSON takes it."""
    types: dict[type, None] = {Problem: None}
    for endpoint in endpoints:
        types.update(dict.fromkeys(endpoint.answers.values()))
    # `dict` stands for this description itself, which has a schema elsewhere.
    named = [kind for kind in types if kind is not dict]
    schemas, components = msgspec.json.schema_components(named, ref_template=_REFERENCE)
    references: dict[type, dict[str, Any]] = dict(zip(named, schemas, strict=True))
    references[dict] = {"type": "object"}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "INT3RCEPTOR",
            "version": _version(),
            "description": "What a running core is asked and told by scripts.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, references: dict[type, dict[str, Any]]) -> dict[str, Any]:
    answers: dict[int, type] = {400: Problem, 403: Problem, **endpoint.answers}
    if not endpoint.is_open:
        answers[401] = Problem
    if endpoint.streams:
        answers[503] = Problem
    responses: dict[str, Any] = {}
    for status, kind in sorted(answers.items()):
        content: dict[str, Any] = {"application/json": {"schema": references[kind]}}
        if endpoint.streams and status == 200:
            content["text/event-stream"] = {"schema": {"type": "string"}}
        responses[str(status)] = {"description": _TEXTS[status], "content": content}
    responses["default"] = {
        "description": "A body that is too long or does not come, a bug, a core that is stopping.",
        "content": {"application/json": {"schema": references[Problem]}},
    }
    operation: dict[str, Any] = {
        "operationId": _identifier(endpoint),
        "summary": endpoint.text,
        "parameters": [
            *map(_in_path, _NAMES.findall(endpoint.path)),
            *map(_in_query, endpoint.parameters),
        ],
        "responses": responses,
    }
    if endpoint.is_open:
        operation["security"] = []
    return operation


def _identifier(endpoint: Endpoint) -> str:
    words = re.findall(r"\w+", endpoint.path.removeprefix("/api/"))
    return "_".join([endpoint.method.lower(), *words])


def _in_path(name: str) -> dict[str, Any]:
    kind = "integer" if name == "id" else "string"
    return {"name": name, "in": "path", "required": True, "schema": {"type": kind}}


def _in_query(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.text,
        "schema": dict(parameter.schema),
    }


def _version() -> str:
    try:
        return version("int3rceptor")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        return "0"
