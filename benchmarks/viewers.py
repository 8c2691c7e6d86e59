"""What viewers of a live run cost: how quick the studio answers them, and what they take from the training.

    python benchmarks/viewers.py [--viewers 200] [--seconds 30] [--steps 1000000] [--save]

A real studio trains the starter with LoRA. Viewers are HTTP clients, all in one process; each does what an open page
with the Train tab in front does: once a second it asks for the curves that it lacks, and every pulse in sight asks at
its pace what has changed and sends the events of that, with the values that the answers before have set. What it costs
the browser to draw them is not measured. `curves` are only the requests for curves, at 1 Hz; `page` is all of it.

Figures: seconds from a request to its whole answer (median, p95); bytes that an answer with curves takes on the wire,
early and late; tokens/s of the training with the viewers over those without, before and after; and how long a run of
`steps` steps takes to open: until its curves are there, first from a few of its rows, then from all.
Targets: p95 ≤ 100 ms, ≤ 5 % of the throughput, bytes that do not grow, 2 s.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import multiprocessing
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from studio.home import REPOSITORY
from studio.jobs import client
from studio.recipe import Recipe
from studio.store import Store
from studio.ui.metric_feed import Feed
from tests.conftest import Studio, until

RESULTS = REPOSITORY / "benchmarks" / "results" / "viewers.json"
IN_SIGHT = {"status-bar": False, "status": True}  # what a pulse in sight draws → whether it is asked about the run
_WARM_UP = 5.0  # seconds of a measurement that do not count
RECIPE = {
    "data": {"source": "captain"},
    "training": {"max_steps": 1_000_000, "evaluations": 0, "sample_prompts": 0, "save_steps": 100_000},
}


class Viewer:
    """One open page: its session, the values of its components, and a connection that it keeps."""

    def __init__(self, address: str, page: dict, run: str):
        self.at, self.page, self.run = urlsplit(address), page, run
        self.session = f"viewer{random.randrange(1 << 40)}"
        self.values = dict(page["values"]) | {page["run"]: run}
        self.seen = {"epoch": 0, "have": {}, "outline": 0}
        self.stamps: dict[tuple[int, str], str] = {}
        self.waited: list[tuple[float, str, float, int]] = []  # (when, kind, seconds, bytes)
        self.lock = asyncio.Lock()  # a browser would open a second connection; one each is enough here

    async def curves(self) -> None:
        """Ask for what is lacking, as live_plot.js does, and keep count of it."""
        body = {"component_id": self.page["plot"], "fn_name": "more", "session_hash": self.session}
        answer = await self._post("component_server", {**body, "data": {"run": self.run, **self.seen}}, "curves")
        if answer["epoch"] != self.seen["epoch"] and not answer["more"]:
            self.seen = {"epoch": answer["epoch"], "have": {}, "outline": 0}
        self.seen["have"] |= {name: change["n"] for name, change in answer["series"].items()}
        self.seen["outline"] = answer.get("outline", {"id": self.seen["outline"]})["id"]

    async def pulse(self, pulse: dict) -> None:
        """Ask what has changed, as pulse.js does, and send the events of what has; their outputs become this page's."""
        value = self.run if pulse["of_run"] else ""
        body = {"component_id": pulse["id"], "fn_name": "stamps_of", "session_hash": self.session, "data": value}
        stamps = await self._post("component_server", body, "page")
        changed = [event for event, stamp in stamps.items() if self.stamps.get((pulse["id"], event)) != stamp]
        self.stamps |= {(pulse["id"], event): stamp for event, stamp in stamps.items()}
        for handler in (each for event in changed for each in pulse["handlers"].get(event, ())):
            data = [self.values.get(each) for each in handler["inputs"]]
            body = {"fn_index": handler["id"], "data": data, "session_hash": self.session, "trigger_id": pulse["id"]}
            answer = await self._post("run/predict", body, "page")
            for component, found in zip(handler["outputs"], answer["data"], strict=False):
                if not isinstance(found, dict) or found.get("__type__") != "update":
                    self.values[component] = found
                elif "value" in found:
                    self.values[component] = found["value"]

    async def _post(self, path: str, body: dict, kind: str) -> dict:
        text = json.dumps(body).encode()
        head = (
            f"POST /gradio_api/{path} HTTP/1.1\r\nHost: {self.at.netloc}\r\nContent-Type: application/json\r\n"
            f"Accept-Encoding: gzip\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        async with self.lock:
            began = time.perf_counter()
            self.writer.write(head.encode() + text)
            answer = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if "content-length:" in answer:
                raw = await self.reader.readexactly(int(answer.split("content-length:")[1].split("\r\n")[0]))
            else:
                raw = await self._chunks()
            self.waited.append((time.time(), kind, time.perf_counter() - began, len(answer) + len(raw)))
        if " 200 " not in answer.split("\r\n")[0]:
            raise RuntimeError(f"{path}: {answer[:80]} {raw[:200]!r}")
        return json.loads(gzip.decompress(raw) if "content-encoding: gzip" in answer else raw)

    async def _chunks(self) -> bytes:
        parts = []
        while size := int(await self.reader.readline(), 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readline()
        await self.reader.readline()
        return b"".join(parts)

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(self.at.hostname, self.at.port, limit=1 << 24)
        await self.curves()

    async def watch(self, until_: float, *, whole_page: bool) -> None:
        await asyncio.gather(
            self._again(self.curves, 1.0, until_),
            *(
                self._again(lambda pulse=pulse: self.pulse(pulse), pulse["every"], until_)
                for pulse in (self.page["pulses"] if whole_page else [])
            ),
        )
        self.writer.close()

    async def _again(self, what, every: float, until_: float) -> None:
        await asyncio.sleep(random.random() * every)
        while (now := time.time()) < until_:
            await what()
            await asyncio.sleep(max(0.0, every - (time.time() - now)))


def page_of(address: str) -> dict:
    """What a viewer has to know of the page: its curves, its run, its pulses in sight and the first values."""
    config = json.loads(urllib.request.urlopen(f"{address}config", timeout=30).read())
    here = config["page"][""]  # the English one
    parts = {each["id"]: each for each in config["components"] if each["id"] in here["components"]}
    named = {each["props"].get("elem_id"): key for key, each in parts.items()}
    pulses = []
    for name, of_run in IN_SIGHT.items():
        handlers = [each for each in config["dependencies"] if named[name] in each["outputs"]]
        ours = [(each, target) for each in handlers for target in each["targets"] if _pulse(parts, target[0])]
        component = parts[ours[0][1][0]]
        events = {event: [each for each, other in ours if other[1] == event] for _, (_, event) in ours}
        every = json.loads(re.search(r"= (\{.*?\});", component["props"]["js_on_load"])[1])["every"] / 1000
        pulses.append({"id": component["id"], "every": every, "of_run": of_run, "handlers": events})
    values = {key: each["props"].get("value") for key, each in parts.items()}
    return {"plot": named["plots"], "run": named["run"], "pulses": pulses, "values": values}


def _pulse(parts: dict, component: int) -> bool:
    return "stamps_of" in (parts.get(component, {}).get("props", {}).get("server_fns") or ())


def crowd(address: str, run: str, count: int, seconds: float, whole_page: bool, answer) -> None:
    """In a process of its own: all viewers; sends when all were open, and what they waited."""

    async def all_of_them() -> tuple[float, list]:
        page = page_of(address)
        viewers = [Viewer(address, page, run) for _ in range(count)]
        for viewer in viewers:  # one after the other: Gradio describes all components anew for each new session
            await viewer.open()
        end = time.time() + seconds
        await asyncio.gather(*(viewer.watch(end, whole_page=whole_page) for viewer in viewers))
        return end - seconds, [each for viewer in viewers for each in viewer.waited]

    answer.put(asyncio.run(all_of_them()))


def throughput(store: Store, run: str, began: float, ended: float) -> float:
    """Tokens/s of the training over this time."""
    rows = [row["values"] for row in store.metrics(run) if began <= row["time"] <= ended and "loss" in row["values"]]
    return sum(row["tokens"] for row in rows) / sum(row["seconds"] for row in rows)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def watched(studio: Studio, run: str, count: int, seconds: float, *, whole_page: bool) -> dict:
    """Measure `count` viewers: their waits, the bytes of curves, and the share of the throughput that they take."""
    answers, began = multiprocessing.get_context("spawn").Queue(), time.time()
    time.sleep(seconds)
    alone = [throughput(studio.store, run, began, time.time())]
    viewers = multiprocessing.get_context("spawn").Process(
        target=crowd, args=(studio.address, run, count, seconds + _WARM_UP, whole_page, answers)
    )
    viewers.start()
    opened, waited = answers.get(timeout=seconds + 600)
    began = opened + _WARM_UP
    viewers.join()
    ended = time.time()
    beside = throughput(studio.store, run, began, ended)
    time.sleep(seconds)
    alone.append(throughput(studio.store, run, ended + 1, time.time()))
    waited = [each for each in waited if each[0] >= began]
    ticks = sorted((when, size) for when, kind, _, size in waited if kind == "curves")
    third = max(1, len(ticks) // 3)
    waits = [seconds for _, _, seconds, _ in waited]
    return {
        "viewers": count,
        "requests_per_second": round(len(waited) / (ended - began), 1),
        "median_ms": round(1000 * statistics.median(waits), 1),
        "p95_ms": round(1000 * percentile(waits, 0.95), 1),
        "curve_bytes_early": round(statistics.median(size for _, size in ticks[:third])),
        "curve_bytes_late": round(statistics.median(size for _, size in ticks[-third:])),
        "tokens_per_second_alone": [round(each) for each in alone],
        "tokens_per_second_beside": round(beside),
        "throughput_loss": round(1 - beside / statistics.mean(alone), 3),
    }


def long_run(folder: Path, steps: int) -> dict:
    """Seconds until a run of so many steps shows curves, and all of them, in a window that has not read it before."""
    store, draw = Store(folder / "long.sqlite3"), random.Random(1)
    names = ("loss", "learning_rate", "gradient_norm", "tokens_per_second", "memory_allocated", "padding")
    with store.transaction() as db:
        db.executemany(
            'INSERT INTO metrics(run_id, step, time, "values") VALUES(?,?,?,?)',
            (("long", at, 1e9 + at / 10, json.dumps({name: draw.random() for name in names})) for at in range(steps)),
        )
    feed, began = Feed(store), time.perf_counter()
    opened = 0.0
    while (answer := feed.answer("long"))["more"]:
        opened = opened or (time.perf_counter() - began) * bool(answer["series"])
    whole = time.perf_counter() - began
    return {"steps": steps, "opens_seconds": round(opened or whole, 2), "whole_seconds": round(whole, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--save", action="store_true")
    asked = parser.parse_args()
    found: dict = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder) / "home")
        try:
            studio.open_window()
            run = client.start_run(studio.home, studio.store, "live", Recipe.model_validate(RECIPE).to_dict(), "cpu")
            until(lambda: (studio.store.run(run)["step"] or 0) > 20, 120, "the run does not get going")
            for name, whole_page in (("curves", False), ("page", True)):
                found[name] = watched(studio, run, asked.viewers, asked.seconds, whole_page=whole_page)
                print(name, json.dumps(found[name]), flush=True)
        finally:
            studio.end()
        found["long_run"] = long_run(Path(folder), asked.steps)
        print("long_run", json.dumps(found["long_run"]))
    if asked.save:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
