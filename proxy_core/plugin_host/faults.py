"""How plugins fail: at the door (manifest, module) and at work (trap, fuel, deadline, abort).

All are `errors.PluginError`; their messages are shown to the user as they are.
"""

from __future__ import annotations

from proxy_core.errors import PluginError


class ManifestError(PluginError):
    """A `plugin.toml` is unreadable, malformed or asks for what this version does not do."""


class ModuleRefused(PluginError):
    """A file is no WebAssembly module, or one that this host does not run."""


class GuestFailure(PluginError):
    """A call into a guest did not end well; its instance is worthless from now on."""


class GuestTrapped(GuestFailure):
    """The guest executed something that WebAssembly forbids."""


class OutOfFuel(GuestFailure):
    """The guest used up the fuel of one entry."""


class DeadlineExceeded(GuestFailure):
    """The guest did not return within its wall-clock deadline."""


class TooBusy(DeadlineExceeded):
    """Every instance was in use for longer than a call may take; none of them is to blame."""


class SliceOverrun(GuestFailure):
    """The guest kept the loop for longer than a slice may take, and could not be interrupted."""


class GuestAborted(GuestFailure):
    """The guest called `host_abort`."""


class GuestExited(GuestFailure):
    """The guest ended itself, as programs do and filters must not (WASI's `proc_exit`)."""


class HostCallFailed(GuestFailure):
    """The guest asked for what it cannot have, in an ABI that has no answer for that but a trap."""
