"""Error messages on the page: each error raised by a handler is shown once, in a corner, in the page's language.

Gradio 6.31 shows the errors of queued handlers only, and ours are not queued (see `Page.on`), so `notices.js` reads
them from the responses. It also reports a file that is too large before the browser sends it. This module does not
depend on what the errors are about.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from gradio.utils import get_upload_folder

from studio.data.read import MAX_UPLOAD_BYTES
from studio.home import ASSETS
from studio.words import LANGUAGES, translate


def script() -> str:
    """Return the script for the page's <head>."""
    settings = json.dumps(
        {"limit": MAX_UPLOAD_BYTES, "words": {language: _words(language) for language in LANGUAGES}}, ensure_ascii=False
    )
    return (
        f"<script>\nconst NOTICES = {settings};\n{(ASSETS / 'ui' / 'notices.js').read_text(encoding='utf-8')}</script>"
    )


def _words(language: str) -> dict[str, str]:
    return {
        "title": translate("Please check", language),
        "close": translate("Close", language),
        "large": translate(
            "{name} has {size} MB, but the page takes files of up to {limit} MB. Type its path below instead, or "
            "split it.",
            language,
        ),
    }


def discard_upload(path: str | Path) -> None:
    """Delete Gradio's copy of an uploaded file; a path outside Gradio's upload folder is left alone."""
    path = Path(path)
    if Path(get_upload_folder()).resolve() in path.resolve().parents:
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()
