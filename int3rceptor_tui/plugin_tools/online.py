"""The plugin tools that ask a running core: list, enable, disable, reload, logs, discover."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from int3rceptor_tui.log_printer import escaped, render
from int3rceptor_tui.options import Flags
from int3rceptor_tui.plugin_tools.report import print_document, print_line_document
from int3rceptor_tui.view_model.formats import duration
from proxy_core.api.client import ApiClient, Event
from proxy_core.api.token_file import read_token
from proxy_core.config import DEFAULT_API, Settings
from proxy_core.config.loader import load_settings
from proxy_core.config.modes import split_host_port
from proxy_core.errors import ApiUnreachable, ConfigError, Int3rceptorError
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.model.words import counted

FINE: Final = 0
NOT_FINE: Final = 1
_BACKLOG: Final = 20  # lines shown before those to come
_AGO: Final = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Where:
    """Where a core is looked for: the API's URL as given, and the settings that say the rest."""

    url: str | None
    flags: Flags

    @property
    def is_named(self) -> bool:
        """Whether the user said which core is meant."""
        return self.url is not None or self.flags.get("api_token_file") is not None

    def settings(self) -> Settings:
        """Load the settings. Raises ConfigError."""
        named = {name: value for name, value in self.flags.items() if name != "config"}
        return load_settings(named, os.environ, self.flags.get("config"))

    def client(self) -> ApiClient:
        """Return a client of the core that answers there.

        Raises ApiUnreachable, ConfigError and PrivateFileError.
        """
        settings = self.settings()
        host, port = _address(self.url) if self.url else settings.api or DEFAULT_API
        secret = read_token(settings.api_token)
        client = ApiClient(host, port, secret or b"")
        client.check()
        if secret is None:
            raise ApiUnreachable(
                f"the core at {client.where} wants a token, and {settings.api_token} is not "
                "there; pass its --data-dir or --api-token-file"
            )
        return client


def _address(url: str) -> tuple[str, int]:
    text = url.removeprefix("http://").removesuffix("/")
    if "/" in text or "@" in text:
        raise ConfigError(f"--api = {url!r}: not where an API is; write http://HOST:PORT")
    try:
        host, port = split_host_port(text)
    except ConfigError as error:
        raise ConfigError(f"--api = {url!r}: {error}") from error
    if port == 0:
        raise ConfigError(f"--api = {url!r}: port 0 is nowhere; write http://HOST:PORT")
    return host, port


@contextlib.contextmanager
def _understanding() -> Iterator[None]:
    """Take a document in which something is missing, or of another kind, for another version's."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise Int3rceptorError("the core speaks another version's API; update one") from error


def list_plugins(where: Where, as_json: bool) -> int:
    """List the core's plugins."""
    document = where.client().ask("GET", ("plugins",))
    if as_json:
        print_document(document)
        return FINE
    with _understanding():
        _print_plugins(document)
    return FINE


def _print_plugins(document: Mapping[str, Any]) -> None:
    for plugin in document["plugins"]:
        stats = plugin["stats"]
        figures = f"generation {stats['generation']}, {counted(stats['calls'], 'call')}"
        if stats["traps"]:
            figures += f", {counted(stats['traps'], 'trap')}"
        if plugin["state"] == "quarantined":
            figures += f", called again in {duration(float(stats['quarantined_for']))}"
        _print_row(plugin, f"{plugin['version']:<8} {figures}, {', '.join(plugin['hooks']) or '-'}")
        if plugin["error"]:
            print(escaped(f"  {plugin['error']}"))
    if not document["plugins"]:
        print("no plugins")


def discover_online(where: Where, as_json: bool) -> int:
    """Let the core look into its plugin directories, and tell what it found."""
    client = where.client()
    found = client.ask("GET", ("plugins", "discover"))
    with _understanding():
        if as_json:
            print_document({"core": client.where, **found})
        else:
            _print_found(found)
        return NOT_FINE if found["refused"] else FINE


def _print_found(found: Mapping[str, Any]) -> None:
    for plugin in found["plugins"]:
        _print_row(plugin, plugin["error"] or "")
        print(escaped(f"  {plugin['path']}"))
    told = {plugin["error"] for plugin in found["plugins"]}
    for item in found["refused"]:
        if item["error"] not in told:
            print(escaped(f"{item['path']}: {item['error']}"))
    if not found["plugins"]:
        print(escaped(f"no plugins in {', '.join(found['directories'])}"))
    for what in ("added", "removed"):
        if found[what]:
            print(escaped(f"{what}: {', '.join(found[what])}"))


def core_for_discovery(where: Where) -> Where | None:
    """Return `where` if a core answers there and knows us; None where nobody asked for one.

    Without a token nobody of this user's serves an API, and nothing is asked. Raises what `client`
    raises, where the user has named a core.
    """
    try:
        if not where.is_named and read_token(where.settings().api_token) is None:
            return None
        where.client().ask("GET", ("plugins",))
    except Int3rceptorError:
        if where.is_named:
            raise
        return None
    return where


def command(where: Where, name: str, action: str, as_json: bool) -> int:
    """Reload, enable or disable a plugin. Raises ApiError where that does not succeed."""
    path = ("plugins", "reload", name) if action == "reload" else ("plugins", name, action)
    document = where.client().ask("POST", path)
    if as_json:
        print_document(document)
    else:
        with _understanding():
            print(escaped(document["message"]))
    return FINE


def show_logs(
    where: Where,
    name: str,
    follow: bool,
    since: str | None,
    level: str | None,
    limit: int | None,
    as_json: bool,
) -> int:
    """Show a plugin's log lines, and go on with those to come where asked."""
    query: dict[str, object] = {"since": _since(since), "level": level, "limit": limit}
    client = where.client()
    if not follow:
        document = client.ask("GET", ("plugins", name, "logs"), query)
        if as_json:
            print_document(document)
            return FINE
        with _understanding():
            for line in document["lines"]:
                print(_line_of(line))
        return FINE
    if limit is None and since is None:
        query["limit"] = _BACKLOG
    for event in client.follow(("plugins", name, "logs"), {**query, "follow": "true"}):
        if as_json:
            print_line_document({"event": event.kind, **event.data})
            continue
        with _understanding():
            print(_event_line(event), flush=True)
    raise ApiUnreachable(f"the core at {client.where} has ended the log; start it again")


def _since(text: str | None) -> str | None:
    """Turn `10m` into a time; what else there is, the core judges."""
    ago = _AGO.fullmatch(text or "")
    if ago is None:
        return text
    try:
        moment = time.time() - int(ago[1]) * _SECONDS[ago[2]]
        return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()
    except (OverflowError, OSError, ValueError) as error:
        raise ConfigError(
            f"--since = {text!r}: before all time; write something like 10m"
        ) from error


def _event_line(event: Event) -> str:
    if event.kind == "lost":
        return f"{counted(int(event.data['lost']), 'line')} lost: too many at once"
    return _line_of(event.data)


def _line_of(line: Mapping[str, Any]) -> str:
    flow = line["flow_id"]
    return render(
        LogLine(
            int(line["seq"]),
            str(line["plugin"]),
            LogLevel[str(line["level"]).upper()],
            float(line["time"]),
            None if flow is None else FlowId(int(flow)),
            str(line["text"]),
        )
    )


def _print_row(plugin: Mapping[str, Any], rest: str) -> None:
    print(escaped(f"{plugin['name']:<24} {plugin['state']:<11} {rest}".rstrip()))
