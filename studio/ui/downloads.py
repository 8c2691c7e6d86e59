"""Files that a press of a server-drawn button makes ready for the browser to take."""

from __future__ import annotations

from pathlib import Path

from studio.library import export
from studio.ui.page import Page

# After a press that made a file ready the browser takes it; after any other press there is no file.
TAKE = """(file) => {
  if (file && file.url) {
    const link = document.createElement('a');
    link.href = file.url;
    link.download = file.orig_name || '';
    link.click();
  }
  return [];
}"""


def adapter_zip(page: Page, adapter: str) -> Path:
    """The adapter as a zip in the exports folder; earlier zips there are removed, as the browser has its copy from Gradio's cache."""
    for old in page.home.exports.glob("*.zip"):
        old.unlink()
    return export.zip_adapter(page.home, page.store, adapter, page.home.exports)
