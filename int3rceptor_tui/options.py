"""The settings as flags, the same for every command that runs a core."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy_core.config import DEFAULT_API

Flags = dict[str, Any]
"""Settings by name, as they were given; None for a flag that was not."""


def _option(kind: object, metavar: str | None, text: str) -> Any:
    return Annotated[kind, typer.Option(metavar=metavar, help=text)]


def _switch(name: str, text: str) -> Any:
    return Annotated[bool | None, typer.Option(f"--{name}", help=text)]


_TEXT, _TEXTS, _FILE, _FILES = str | None, list[str] | None, Path | None, list[Path] | None

OPTIONS: dict[str, Any] = {
    "listen": _option(_TEXT, "HOST:PORT", "Listen there instead of on 127.0.0.1:8080."),
    "mode": _option(
        _TEXTS,
        "SPEC[@HOST:PORT]",
        "regular (as always), reverse:URL, upstream:URL, socks5 or transparent; may be repeated.",
    ),
    "keep_host": _switch("keep-host", "In reverse mode, send the client's Host on."),
    "connect_address": _option(
        _TEXT, "HOST:PORT", "In reverse mode, connect there instead of to the origin's address."
    ),
    "upstream_per_client": _switch(
        "upstream-per-client", "Never share an upstream connection between clients."
    ),
    "lenient": _switch("lenient", "Forward odd messages too, where their framing is certain."),
    "modify_messages": _option(
        _TEXTS,
        "[/FILTER]/REGEX/REPLACEMENT",
        "Replace in WebSocket messages; any separator, @FILE for what a file holds; may be "
        "repeated.",
    ),
    "drop_messages": _option(
        _TEXTS, "FILTER", "Drop the WebSocket messages that match; may be repeated."
    ),
    "plugins": _option(_FILES, "DIR", "Look for plugins there too; may be repeated."),
    "watch": Annotated[
        bool | None,
        typer.Option(
            "--watch/--no-watch",
            help="Load plugins anew when their files change; as always in the console.",
        ),
    ],
    "data_dir": _option(_FILE, "DIR", "Where the CA and other data lie."),
    "upstream_ca": _option(_FILE, "FILE", "Trust the certificates in this PEM file upstream too."),
    "insecure": _switch("insecure", "Do not verify upstream certificates."),
    "insecure_hosts": _option(
        _TEXTS, "REGEX", "Do not verify these hosts' certificates; may be repeated."
    ),
    "upstream_tls_min": _option(
        _TEXT, "VERSION", "The lowest TLS version upstream; 1.2, unverified 1.0."
    ),
    "upstream_tls_max": _option(_TEXT, "VERSION", "The highest TLS version upstream; 1.3."),
    "upstream_ciphers": _option(_TEXT, "LIST", "OpenSSL's cipher list for upstream TLS to 1.2."),
    "client_cert": _option(
        _TEXTS, "[HOST=]FILE", "Certificate and key to show to origins; may be repeated."
    ),
    "ignore_hosts": _option(
        _TEXTS, "REGEX", "Pass TLS with these hosts through untouched; may be repeated."
    ),
    "allow_hosts": _option(
        _TEXTS, "REGEX", "Pass TLS with all other hosts through untouched; may be repeated."
    ),
    "auto_passthrough": _switch(
        "auto-passthrough", "Pass through hosts whose clients refuse our certificate."
    ),
    "ca_cert": _option(_FILE, "FILE", "A CA of your own, PEM, instead of a made one."),
    "ca_key": _option(_FILE, "FILE", "Its key, where it is not in the same file."),
    "ca_passphrase": _option(_TEXT, "TEXT", "Its key's passphrase; better INT3_CA_PASSPHRASE."),
    "proxy_auth": _option(
        _TEXT, "USER:PASSWORD|@FILE", "Ask clients for this, or for one of an htpasswd file."
    ),
    "allow_public_clients": _switch(
        "allow-public-clients", "Serve clients from public addresses too."
    ),
    "refuse_private_clients": _switch(
        "refuse-private-clients", "Serve clients on this machine only."
    ),
    "api": _option(_TEXT, "[HOST:PORT]", "Serve the API; on 127.0.0.1:3000 if not told where."),
    "api_token_file": _option(_FILE, "FILE", "The API's token; made on first use."),
    "api_hosts": _option(_TEXTS, "NAME", "Answer the API under this name too; may be repeated."),
    "config": _option(_FILE, "FILE", "Read settings from this TOML file."),
}

API_FLAG = "--api"


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Give an `--api` without an address its default one; options take a value or never do."""
    spelled: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*spelled, *arguments[index:]]
        following = arguments[index + 1] if index + 1 < len(arguments) else ""
        if argument == API_FLAG and (":" not in following or following.startswith("-")):
            host, port = DEFAULT_API
            argument = f"{API_FLAG}={host}:{port}"
        spelled.append(argument)
    return spelled


CA_OPTIONS = ("data_dir", "ca_cert", "ca_key", "ca_passphrase", "config")


def takes(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command these of OPTIONS; it gets what was given as one argument, `flags`."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        def run(**values: Any) -> int:
            flags = {name: _given(values.pop(name)) for name in names}
            return command(**values, flags=flags)

        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "flags"
        ]
        given = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name]
            )
            for name in names
        ]
        update_wrapper(run, command, updated=())
        del run.__wrapped__  # type: ignore[attr-defined]
        run.__signature__ = inspect.Signature([*own, *given])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *given)}
        return run

    return decorate


def _given(value: Any) -> Any:
    """Return what was given; None for an option that was not, and for a list without items."""
    return value if value or value is False else None


takes_settings = takes(*OPTIONS)
