"""The demo behind `--demo`: a small origin and traffic, so that there is something to see at once.

`prepare_demo(settings)` gives the settings to start the core with, and the demo to run beside it:

    settings, demo = prepare_demo(settings)
    ... start the core with `settings` ...
    await demo(core)        # on the core's loop, until cancelled
"""

from int3rceptor_tui.demo.companion import Demo, bundled_plugins, prepare_demo

__all__ = ["Demo", "bundled_plugins", "prepare_demo"]
