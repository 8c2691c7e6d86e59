"""Downloads that start when a server-rendered button is clicked."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

from studio.export.archive import zip_adapter
from studio.home import Home
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


_KEPT_SECONDS = 3600.0
"""Age from which an exported file is removed; the browser downloads Gradio's own copy of it soon after it is made."""
_FOLDER = "download-"


def fresh_folder(home: Home) -> Path:
    """Create an empty folder for one download in the exports folder; remove those that are older than _KEPT_SECONDS.

    Each download has its own, so that none removes or replaces a file that another viewer is still getting.
    """
    for old in home.exports.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):  # another viewer's download has removed it meanwhile
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=_FOLDER, dir=home.exports))


def adapter_zip(page: Page, adapter: str) -> Path:
    """Write the adapter as a zip to a folder of its own; return its path."""
    return zip_adapter(page.home, page.store, adapter, fresh_folder(page.home))
