"""The user interface: all code that uses Gradio. It displays the store's contents and requests jobs; it runs none.

Nothing in this package imports torch. Settings that Gradio reads once at import are set here, before any module of the
package imports it: no telemetry, no rebuilding of the usage summary after every event (which blocks an app with many
viewers), and no stub files.
"""

import importlib.machinery
import os
import sys

for _name, _value in {
    "GRADIO_ANALYTICS_ENABLED": "0",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}.items():
    os.environ.setdefault(_name, _value)


class _NoStubs:
    """Import hook that keeps Gradio from writing a .pyi file next to every component class's source, ours included.

    Checking those files for Gradio's own components takes 40 % of the time of `import gradio` (6.31, measured). If a
    later version of Gradio does this elsewhere, nothing is replaced, and everything works as without the hook.
    """

    module = "gradio.component_meta"

    def find_spec(self, name, path=None, target=None):
        if name != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.replace(module)

        spec.loader.exec_module = exec_module
        return spec

    @staticmethod
    def replace(module):
        if hasattr(module, "create_or_modify_pyi"):
            module.create_or_modify_pyi = lambda *args, **kwargs: None


if _NoStubs.module in sys.modules:
    _NoStubs.replace(sys.modules[_NoStubs.module])
else:
    sys.meta_path.insert(0, _NoStubs())
