"""A component for each tab that says when the tab has to be drawn anew because the draft has changed.

A change of the draft concerns nearly all tabs, and Gradio's page looks through all components for each output of each
event. So a tab that is not in sight is drawn when it is looked at.
"""

from __future__ import annotations

from studio.home import ASSETS
from studio.ui.scripted_html import ScriptedHTML

TELL = """(stamp) => {
  document.documentElement.dataset.draft = stamp;
  document.dispatchEvent(new CustomEvent('draft-changed', { detail: stamp }));
  return [];
}"""
"""Script of the handler that tells the followers of a page the draft's newest stamp."""

_DRAWN = """() => {
  document.getElementById('TAB-draft').closest('[role="tabpanel"]').setAttribute('aria-busy', 'false');
  return [];
}"""


class DraftFollower(ScriptedHTML):
    """Sends `tick` when the draft has changed since the last one and the tab is in sight.

    Its value is then the stamp of that change: "ORIGIN:NUMBER", or ":NUMBER" for several changes. The tab is
    marked as busy while it shows an older draft, until the script `drawn` has run.
    """

    def __init__(self, tab: str = "", **kwargs):
        for name in ("value", "visible"):
            kwargs.pop(name, None)
        self.drawn = _DRAWN.replace("TAB", tab)
        super().__init__(
            "",
            elem_id=f"{tab}-draft",
            visible="hidden",
            template="",
            script=(ASSETS / "ui" / "draft_follower.js").read_text(encoding="utf-8"),
            constants={},
            server_functions=[],
            **kwargs,
        )
