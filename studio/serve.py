"""`python -m studio.serve [ADAPTER…]`: serve a base model and adapters through an OpenAI-compatible API, from a
terminal.

The same server as that of the page's Chat tab, without the page and the supervisor.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from studio.chat.serving import endpoint, snippets
from studio.home import Home
from studio.library import adapter_store
from studio.store import Store
from studio.words import StudioError


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    home = Home(options.home)
    try:
        rows = _adapters(options, Store(home.database))
        base = _base(options, rows)
        stored = endpoint(home)
        server = _start(
            options, home, base, rows, options.key or stored.key, stored.port if options.port is None else options.port
        )
    except StudioError as error:
        print(error, file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studio.serve",
        description="Serve a base model and its adapters through an OpenAI-compatible API.",
    )
    parser.add_argument("adapters", nargs="*", metavar="ADAPTER", help="name or id in the library, or a folder")
    parser.add_argument("--base", help="base model; needed where no adapter names it")
    parser.add_argument("--port", type=int, help="port (default: the one that the page uses, 8790 at first)")
    parser.add_argument("--key", help="bearer token (default: the one that the page shows; it stays the same)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine only)")
    parser.add_argument("--cors-origin", action="append", default=[], help="web page that may call the server")
    parser.add_argument("--quantisation", default="none", choices=["none", "nf4", "int8"], help="of the base model")
    parser.add_argument("--device", default="auto", help="cpu, cuda:0, … (default: the best there is)")
    parser.add_argument("--home", help="the studio's folder (default: DELTA_STUDIO_HOME or ~/.delta-studio)")
    return parser


def _adapters(options: argparse.Namespace, store: Store) -> list[dict]:
    """The adapters to serve, as rows of the library; an adapter from a folder gets the folder's name as its id."""
    library = adapter_store.listing(store)
    if not options.adapters:
        if not options.base:
            raise StudioError("Name the adapters to serve, or a base model with --base.")
        return [row for row in library if row["card"].get("base") == options.base]
    return [_adapter(name, library, options.base) for name in options.adapters]


def _adapter(name: str, library: list[dict], base: str | None) -> dict:
    found = [row for row in library if row["id"] == name] or [row for row in library if row["name"] == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise StudioError(
            "Several adapters have the name '{name}'; give the id of one: {ids}.",
            name=name,
            ids=", ".join(row["id"] for row in found),
        )
    folder = Path(name).expanduser()
    config = folder / "adapter_config.json"
    if not config.is_file():
        raise StudioError(
            "There is no adapter '{name}': neither in the library nor as a folder with adapter_config.json.", name=name
        )
    try:
        own = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError) as error:
        raise StudioError("{file} cannot be read ({detail}).", file=str(config), detail=error) from error
    card = {"kind": "adapter", "base": base or own or ""}
    return {
        "id": folder.resolve().name,
        "name": folder.resolve().name,
        "created": config.stat().st_mtime,
        "card": card,
        "folder": folder,
    }


def _base(options: argparse.Namespace, rows: list[dict]) -> str:
    bases = {row["card"].get("base") for row in rows}
    if options.base:
        bases.add(options.base)
    if len(bases) > 1:
        raise StudioError(
            "One server has one base model, but these adapters need several: {bases}.",
            bases=", ".join(sorted(map(str, bases))),
        )
    return bases.pop()


def _start(options: argparse.Namespace, home: Home, base: str, rows: list[dict], key: str, port: int):
    """Load the model, start the server and print how to use it; returns a function that shuts it down."""
    from studio.models.resolve import resolve_folder

    folder = resolve_folder(base)  # before the seconds that torch takes
    from studio.chat.server import listen, make_engine, start_server
    from studio.chat.service import Service
    from studio.hardware import choose_device

    listener = listen(options.host, port)
    load = {"quantisation": options.quantisation, "precision": "auto", "device": choose_device(options.device)}
    by_id = {row["id"]: row for row in rows}

    def find(adapter_id: str) -> tuple[Path, dict]:
        row = by_id[adapter_id]
        return row.get("folder") or home.adapter(adapter_id), row["card"]

    print(f"Loading {base} …", flush=True)
    engine = make_engine(folder, base, load, find)
    service = Service(engine, key, lambda: rows, home.root, tuple(options.cors_origin))
    server, thread = start_server(service, listener)
    url = f"http://{options.host}:{listener.getsockname()[1]}/v1"
    names = ", ".join(["base", *(row["name"] for row in rows)])
    model = rows[0]["name"] if rows else "base"
    print(f"Serving {names} at {url}\nKey: {key}\n\n{snippets(url, key, model)['curl']}\n\nCtrl+C ends it.", flush=True)

    def end() -> None:
        service.shut_down()
        server.should_exit = True
        thread.join(10)

    return end


if __name__ == "__main__":
    sys.exit(main())
