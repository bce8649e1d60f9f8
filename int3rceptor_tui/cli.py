"""The command line: console (the default), serve, ca, plugin.

Whatever goes wrong is one line on stderr: exit code 2 for what was asked wrongly, 1 for what
failed. What a command needs is imported in it, so that `--help` and a usage error are quick.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from int3rceptor_tui.descriptors import raise_descriptor_limit
from int3rceptor_tui.help_pages import Command, Group
from int3rceptor_tui.options import CA_OPTIONS, Flags, spell_out, takes, takes_settings
from int3rceptor_tui.plugin_tools.group import group as plugin
from proxy_core.errors import ConfigError, Int3rceptorError

if TYPE_CHECKING:
    from proxy_core.config import Settings

PROGRAM = "int3rceptor-tui"

_FAILED, _ASKED_WRONGLY, _INTERRUPTED = 1, 2, 130
_CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ca = typer.Typer(cls=Group, rich_markup_mode=None, help="The certificate authority.")
app.add_typer(ca, name="ca")
app.add_typer(plugin, name="plugin")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"int3rceptor {version('int3rceptor')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
@takes_settings
def console(
    context: typer.Context,
    flags: Flags,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a small site being browsed; needs no network.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> int:
    """INT3RCEPTOR: an intercepting HTTP(S) proxy that lives in a terminal.

    Without a command it opens the console. Every setting can also be given as INT3_... in the
    environment and in int3rceptor.toml.
    """
    if context.invoked_subcommand is not None:
        if demo:
            raise ConfigError(f"--demo is for the console; leave out {context.invoked_subcommand}")
        context.obj = flags  # flags before a command count for it
        return 0
    settings = _load(flags, _console_defaults(demo))
    _require_terminal()
    companion = None
    if demo:
        from int3rceptor_tui.demo import prepare_demo

        settings, companion = prepare_demo(settings)
    from int3rceptor_tui.app import run_console

    return run_console(settings, companion=companion)


@app.command(cls=Command)
@takes_settings
def serve(context: typer.Context, flags: Flags) -> int:
    """Run the proxy without a console, until SIGINT or SIGTERM.

    Prints a line for each address it listens on; logs go to stderr.
    """
    settings = _load(_merge(context, flags))
    from int3rceptor_tui.serve import run_serve

    return run_serve(settings)


@ca.command("path", cls=Command)
@takes(*CA_OPTIONS)
def ca_path(context: typer.Context, flags: Flags) -> int:
    """Print where the CA certificate lies.

    Makes the CA first where there is none yet.
    """
    settings = _load(_merge(context, flags))
    from int3rceptor_tui.ca_commands import print_path

    return print_path(settings, PROGRAM)


@ca.command("export", cls=Command)
@takes(*CA_OPTIONS)
def ca_export(
    context: typer.Context,
    flags: Flags,
    form: Annotated[
        str, typer.Option("--format", metavar="pem|der|p12", help="The form to export.")
    ] = "pem",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there instead of to stdout.")
    ] = None,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="The private key too; p12 only, with a password.")
    ] = False,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its first line is the p12's password.")
    ] = None,
) -> int:
    """Write the CA certificate in the form that a platform takes.

    Makes the CA first where there is none yet.
    """
    settings = _load(_merge(context, flags))
    from int3rceptor_tui.ca_commands import write_export

    return write_export(settings, PROGRAM, form, out, with_key, password_file)


@ca.callback()
def ca_group() -> None:
    """The certificate authority."""


def _merge(context: typer.Context, flags: Flags) -> Flags:
    """Put a command's flags over those that stood before the command."""
    before: Flags = context.find_root().obj or {}
    return before | {name: value for name, value in flags.items() if value is not None}


def _load(flags: Flags, base: Settings | None = None) -> Settings:
    from proxy_core.config.loader import load_settings

    given = {name: value for name, value in flags.items() if name != "config"}
    settings = load_settings(given, os.environ, flags.get("config"), base)
    if settings.modify_messages or settings.drop_messages:
        from proxy_core.policy.message_rules import message_rules

        message_rules(settings)  # what is wrong with them is told before anything starts
    return settings


def _console_defaults(demo: bool) -> Settings:
    """Return the console's defaults; a demo's give way where their port is taken."""
    from proxy_core.config import Settings

    defaults = replace(Settings(), watch=True)
    if demo and _is_taken(defaults.listen_host, defaults.listen_port):
        return replace(defaults, listen_port=0)
    return defaults


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return True
    return False


def _require_terminal() -> None:
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty()):
        raise ConfigError(f"the console needs a terminal; start it in one, or run {PROGRAM} serve")
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise ConfigError(
            f"the console cannot draw on this terminal (TERM={os.environ.get('TERM', '')}); "
            f"set TERM, or run {PROGRAM} serve"
        )


def hold_standard_files() -> None:
    """Open what is closed of stdin, stdout and stderr, so that no socket becomes one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number free: this one


def _write_any_text() -> None:
    """Write what the terminal's character set does not have as escape sequences."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit code."""
    hold_standard_files()
    _write_any_text()
    raise_descriptor_limit()
    command = typer.main.get_command(app)
    given = spell_out(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    as_json = "plugin" in options and "--json" in options
    try:
        code = command.main(given, prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except TyperException as error:
        context = getattr(error, "ctx", None)
        page = PROGRAM if context is None else context.command_path
        text = f"{error.format_message().rstrip('.')}; see {page} --help"
        return _complain(text, error.exit_code, as_json)
    except ConfigError as error:
        return _complain(str(error), _ASKED_WRONGLY, as_json)
    except Int3rceptorError as error:
        return _complain(str(error), _FAILED, as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except BrokenPipeError:
        return _FAILED  # whoever read our output has gone
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        return _complain(*_judge(error), as_json)
    finally:
        _let_go_of_output()


def _let_go_of_output() -> None:
    """Turn away what cannot be written, at which the interpreter would fail as it ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _judge(error: Exception) -> tuple[str, int]:
    """Say what an exception that nobody expected means, and with which code to exit."""
    if isinstance(error, OSError) and error.filename is not None:
        where = os.fsdecode(error.filename)
        return f"{where}: {error.strerror}; name another, or permit it", _ASKED_WRONGLY
    if isinstance(error, FileNotFoundError):
        return "the working directory is gone; change into another", _ASKED_WRONGLY
    if isinstance(error, OSError) and error.errno in _CANNOT_BE_WRITTEN:
        return f"the output cannot be written: {error.strerror}; send it elsewhere", _FAILED
    text = f"a bug in the program: {type(error).__name__}: {error}; "
    return f"{text}run it with PYTHONDEVMODE=1 to see where, and report it", _FAILED


def _complain(text: str, code: int, as_json: bool) -> int:
    from int3rceptor_tui.log_printer import escaped

    if as_json:
        from int3rceptor_tui.plugin_tools.report import failure_of, print_line_document

        with contextlib.suppress(OSError):  # it may be what we complain about
            print_line_document(failure_of(text))
    print(f"{PROGRAM}: {escaped(' '.join(text.split()))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
