"""How the pages of `--help` are laid out: options in groups, arguments by their names alone.

What is not named in a group stands under "Options", so that a page is complete by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

GROUPS: Final = {
    "Listening": (
        *("listen", "mode", "keep_host", "connect_address", "upstream_per_client"),
        *("proxy_auth", "allow_public_clients", "refuse_private_clients"),
    ),
    "Messages": ("lenient", "modify_messages", "drop_messages"),
    "Plugins": ("plugins", "watch"),
    "TLS": (
        *("insecure", "insecure_hosts", "upstream_ca", "upstream_tls_min", "upstream_tls_max"),
        *("upstream_ciphers", "client_cert", "ignore_hosts", "allow_hosts", "auto_passthrough"),
    ),
    "Certificate authority": ("ca_cert", "ca_key", "ca_passphrase"),
    "API": ("api", "api_token_file", "api_hosts"),
}
"""Names of settings; where a command takes few options, they are not told apart."""
_FEW: Final = 12
_GROUP_OF: Final = {name: group for group, names in GROUPS.items() for name in names}


class Command(TyperCommand):
    """A command with such a page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the command's name in its first line."""
        return _usage(self, ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        _write_parameters(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands with such a page."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the group's name in its first line."""
        return [*_usage(self, ctx), "COMMAND [ARGS]..."]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, which are why somebody came here, then the options."""
        self.format_commands(ctx, formatter)
        _write_parameters(self, ctx, formatter)


def _usage(command: TyperCommand | TyperGroup, ctx: Any) -> list[str]:
    arguments = (each for each in command.get_params(ctx) if isinstance(each, TyperArgument))
    return ["[OPTIONS]", *map(_spelled, arguments)]


def _spelled(argument: TyperArgument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return (name if argument.required else f"[{name}]") + ("..." if argument.nargs != 1 else "")


def _write_parameters(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    for title, rows in _sections(command, ctx):
        with formatter.section(title):
            formatter.write_dl(rows)


def _sections(
    command: TyperCommand | TyperGroup, ctx: Any
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    parameters = command.get_params(ctx)
    arguments = [
        (_spelled(each), each.help or "") for each in parameters if isinstance(each, TyperArgument)
    ]
    if arguments:
        yield "Arguments", arguments
    options = [each for each in parameters if isinstance(each, TyperOption)]
    rows: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Options", *GROUPS)}
    for option in options:
        group = _GROUP_OF.get(option.name or "", "Options") if len(options) > _FEW else "Options"
        record = option.get_help_record(ctx)
        if record is not None:
            rows[group].append(record)
    yield from ((title, found) for title, found in rows.items() if found)
