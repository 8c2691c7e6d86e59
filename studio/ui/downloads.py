"""Downloads that start when a server-rendered button is clicked."""

from __future__ import annotations

from pathlib import Path

from studio.export.archive import zip_adapter
from studio.ui.page import Page

# Starts the download if the preceding handler returned a file; otherwise does nothing.
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
    """Write the adapter as a zip to the exports folder; return its path.

    Earlier zips there are removed: the browser downloads Gradio's cached copy.
    """
    for old in page.home.exports.glob("*.zip"):
        old.unlink()
    return zip_adapter(page.home, page.store, adapter, page.home.exports)
