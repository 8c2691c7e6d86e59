"""The log of a run, which grows while it is read, and its answers to the fixed prompts as HTML."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import gradio as gr

from studio.home import ASSETS
from studio.jobs.job import log_path
from studio.ui.html_parts import e, folded, note
from studio.ui.page import Page
from studio.words import translate

_LINES = 500  # newest messages that are sent at once
_BYTES = 64_000  # of the output that are sent at once


def samples_html(page: Page, events: list[dict]) -> str:
    """Return, for each fixed prompt, the expected answer and the model's answers as a filmstrip, oldest first.

    An answer that equals the one before it is drawn pale, so that the changes stand out.
    """
    if not events:
        return note(page.t("At each evaluation the model answers a few validation prompts; what it says appears here."))
    prompts: dict[str, list[dict]] = {}
    for event in events:
        prompts.setdefault(event["data"]["prompt"], []).append(event["data"])
    blocks = []
    for prompt, answers in prompts.items():
        frames = "".join(_frame(page, item, before) for before, item in zip([None, *answers], answers, strict=False))
        title = page.t("Answers over time, oldest first")
        blocks.append(
            f'<div class="sample"><p class="prompt">{e(prompt)}</p><p class="expected">'
            f"{e(page.t('Expected answer'))}: {e(answers[0]['expected'])}</p>"
            f'<ol class="filmstrip" tabindex="0" aria-label="{e(title)}">{frames}</ol></div>'
        )
    return f'<div class="samples">{"".join(blocks)}</div>'


def _frame(page: Page, item: dict, before: dict | None) -> str:
    answer = item["answer"].strip()
    right = "right" if answer == item["expected"].strip() else ""
    same = "same" if before and before["answer"].strip() == answer else ""
    return (
        f'<li class="{same}"><span class="step">{page.t("step {step}", step=item["step"])}</span>'
        f'<span class="{right}">{folded(item["answer"])}</span></li>'
    )


class RunLog(gr.HTML):
    """The log of the shown run. While it is visible the browser asks for what it lacks; nothing is sent twice.

    Its event `click` says what the browser has; `more` gives the answer, its new value.
    """

    def __init__(self, *, language: str = "en", value: dict | None = None, **kwargs):
        for name in ("html_template", "js_on_load", "apply_default_css"):
            kwargs.pop(name, None)
        script = (ASSETS / "ui" / "run_log.js").read_text(encoding="utf-8")
        super().__init__(
            value or {},
            html_template='<div class="run-log"></div>',
            js_on_load=f"const words = {json.dumps(_words(language))};\n{script}",
            apply_default_css=False,
            **kwargs,
        )

    def preprocess(self, payload: Any) -> dict:
        return payload if isinstance(payload, dict) else {}

    def postprocess(self, value: Any) -> dict:
        return value if isinstance(value, dict) else {}

    def example_payload(self) -> Any:
        return {}

    def example_value(self) -> Any:
        return {}


NOTHING = -1  # `after` of a browser that has no line yet


def more(page: Page, run_id: str, asked: Any) -> dict | None:
    """Return what the browser's log lacks; None if it has everything.

    asked: has source ("messages" of the run, or "output" of its worker process), run and job (those that the browser
    shows), and after: up to where it has the source. The answer: {"run", "job", "source", "from": after as asked,
    "after": up to where the answer goes, "reset": whether it replaces what the browser has, "lines": [{"text",
    "folded"}]}.
    """
    run = page.store.run(run_id) if run_id else None
    told = {key: getattr(asked, key, None) for key in ("source", "run", "job", "after")}
    output = told["source"] == "output"
    job = run["job_id"] if run else 0
    # Messages are those of all attempts of the run, output is that of the newest one.
    known = told["run"] == run_id and (told["job"] == job or not output) and isinstance(told["after"], int)
    known = known and told["job"] is not None
    start = max(NOTHING, told["after"]) if known else NOTHING
    if run is None:
        lines, after, gap = [], NOTHING, False
    elif output:
        lines, after, gap = _output(log_path(page.home, job), max(0, start))
    else:
        lines, after, gap = _messages(page, run, start)
    if known and not lines and after == start:
        return None
    return {
        "run": run_id,
        "job": told["job"] if known else job,
        "source": "output" if output else "messages",
        "from": start,
        "after": after,
        "reset": gap or not known,
        "lines": lines,
    }


def _messages(page: Page, run: dict, after: int) -> tuple[list[dict], int, bool]:
    """(lines, id of the newest event, whether there are more than are sent) of the events with an id above `after`.

    The line that says when the run started is no event: it is sent once, to who has `NOTHING`.
    """
    events = page.store.select(
        "SELECT id, time, kind, data FROM events WHERE run_id = ? AND id > ? "
        "AND kind IN ('log', 'action', 'traceback') ORDER BY id DESC LIMIT ?",
        run["id"],
        after,
        _LINES,
    )[::-1]
    lines = [_line(page, event) for event in events]
    if after == NOTHING and run["started"] and len(events) < _LINES:
        started = page.t("Started on {device}.", device=run["device"])
        lines.insert(0, {"text": f"{_clock(run['started'])}  {started}"})
        after = 0
    return lines, events[-1]["id"] if events else after, len(events) == _LINES


def _line(page: Page, event: dict) -> dict:
    if event["kind"] == "traceback":
        return {"text": event["data"]["text"], "folded": True}
    return {"text": f"{_clock(event['time'])}  {page.say(event['data'])}"}


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _output(path: Path, after: int) -> tuple[list[dict], int, bool]:
    """(whole lines from byte `after` on, byte after the last of them, whether lines were left out before them)."""
    size = path.stat().st_size if path.is_file() else 0
    if after > size or not size:  # another file by the same name
        return [], 0, after > size
    start = max(after, size - _BYTES)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(size - start)
    data = data[: data.rfind(b"\n") + 1]
    end = start + len(data)
    if start > after:
        data = data.partition(b"\n")[2]  # the first line is not whole
    # A progress bar overwrites its line: the last state is what counts.
    text = [line.rstrip("\r").rpartition("\r")[2] for line in data.decode(errors="replace").split("\n")[:-1]]
    return [{"text": line} for line in text], end, start > after


def _words(language: str) -> dict[str, str]:
    message = {
        "source": "Which log",
        "messages": "Messages of the run",
        "output": "Output of the worker",
        "search": "Search in the log",
        "next": "Next match",
        "matches": "Matches: {count}",
        "report": "Full report",
        "empty": "Nothing yet.",
    }
    return {key: translate(text, language) for key, text in message.items()}
