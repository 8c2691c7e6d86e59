"""The window: everything that touches Gradio. It shows what the store says and asks for work; it never does any itself.

Nothing in here imports torch. What Gradio reads once, at its import, is set here, before any module of the window can
import it: no telemetry, no rebuilding of its usage summary after every event (which stalls a window with many viewers),
and no stub files.
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
    """Keeps Gradio from writing a .pyi file beside the source of every component class, ours included.

    Checking those files for all its own components is 40 % of the time that `import gradio` takes (6.31, measured).
    Should a later Gradio do this elsewhere, nothing is replaced and everything works as it does without us.
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
