"""The demo as a whole: settings that make a core trust the demo origin, and what runs beside it."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import int3rceptor_tui
from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.client import ProxyClient
from int3rceptor_tui.demo.origin import DemoOrigin
from int3rceptor_tui.demo.traffic import Traffic
from proxy_core.config import RegularMode, Settings
from proxy_core.errors import ConfigError

_SEED = 20


class ListeningCore(Protocol):
    """What the demo needs of a core that has started."""

    @property
    def listening(self) -> Sequence[str]:
        """`host:port` of every listener, with the real port."""

    @property
    def ca_path(self) -> Path:
        """The CA certificate's file, PEM."""


class Demo:
    """Origin and traffic beside a core: `await demo(core)` on the core's loop, until cancelled.

    May be called again, for another core, after it was cancelled. Its files live in a private
    temporary directory and go with it.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="int3rceptor-demo-"))
        weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._certificate = OriginCertificate(self._directory)
        self._rng = random.Random(_SEED)  # noqa: S311 - it varies the show, it keeps no secret

    def trust(self, upstream_ca: Path | None) -> Path:
        """Return a PEM file with the demo origin's CA and what `upstream_ca` has.

        Raises ConfigError where that cannot be read.
        """
        if upstream_ca is None:
            return self._certificate.ca_file
        try:
            own = upstream_ca.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"--upstream-ca {upstream_ca} cannot be read ({error.strerror}); name a PEM file"
            ) from error
        combined = self._directory / "upstream-ca.pem"
        combined.write_bytes(own.rstrip() + b"\n" + self._certificate.ca_file.read_bytes())
        return combined

    async def __call__(self, core: ListeningCore) -> None:
        """Run origin and traffic; everything is closed when this is cancelled."""
        host, _, port = core.listening[0].rpartition(":")
        client = ProxyClient(_reachable(host), int(port), core.ca_path)
        async with DemoOrigin(self._certificate, self._pause) as origin:
            traffic = Traffic(client, origin.http, origin.https, origin.https1, self._rng)
            await traffic.run()

    async def _pause(self) -> None:
        """Wait as long as an origin some way off would take."""
        await asyncio.sleep(min(0.4, self._rng.expovariate(1 / 0.03)))


def prepare_demo(settings: Settings) -> tuple[Settings, Demo]:
    """Return settings for a core that the demo can run beside, and the demo.

    The settings trust the demo origin besides what they trusted before, and look for plugins in
    `bundled_plugins()` too. Start the core with them, then run `demo(core)` on its loop. Raises
    ConfigError where the settings leave the demo nothing to do.
    """
    modes = [mode for mode, _, _ in settings.listeners]
    if modes != [RegularMode()]:
        named = ", ".join(map(str, modes))
        raise ConfigError(
            f"--demo sends its traffic through a forward proxy and the mode is {named}; "
            "leave out --mode"
        )
    demo = Demo()
    plugins = settings.plugins
    bundled = bundled_plugins()
    if bundled is not None and bundled not in plugins:
        plugins = (*plugins, bundled)
    trusted = demo.trust(settings.upstream_ca)
    return replace(settings, upstream_ca=trusted, plugins=plugins), demo


def bundled_plugins() -> Path | None:
    """Return the directory of the example plugins: a wheel's, else the checkout's, else None."""
    package = Path(int3rceptor_tui.__file__).parent
    for directory in (package / "bundled_plugins", package.parent / "plugins"):
        if any(directory.glob("*/plugin.toml")):
            return directory
    return None


def _reachable(host: str) -> str:
    """A listener on every address is reached on loopback."""
    bare = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bare, bare)  # noqa: S104 - compared, not bound
