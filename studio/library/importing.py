"""Import an adapter from a zip, a folder of this machine or the Hub: the `import` job.

Files are fetched, checked (`import_checks`) and added to the library; until then nothing is listed, and on an error
nothing is left behind. Only configuration, safetensors and plain texts are taken: no pickles, no code.
"""

from __future__ import annotations

import glob
import shutil
import tempfile
import time
from pathlib import Path, PurePosixPath
from secrets import token_hex

from studio.data import archive
from studio.library import adapter_store
from studio.library.import_checks import CONFIG, WEIGHTS, check_adapter, refuse_pickles
from studio.words import Sentence, StudioError

MAX_FILES = 500
_TAKEN = {CONFIG, WEIGHTS, "chat_template.jinja", "rope.json", "subspace.safetensors", "recipe.yaml"}


def import_adapter(job) -> dict:
    """The `import` job. payload: {"source": "zip" | "folder" | "hub", "place": path or hub id, "title": file name,
    "name": optional, "base": optional, "revision": optional}. Returns {"adapter": id, "name": name}.

    Raises StudioError if the source cannot be read or a check fails.
    """
    payload = job.payload
    title = payload.get("title") or PurePosixPath(payload["place"].replace("\\", "/").rstrip("/")).name
    with tempfile.TemporaryDirectory(prefix=".half-import-", dir=job.home.root / "adapters") as made:
        files = Path(made)
        match payload["source"]:
            case "zip":
                job.doing(Sentence("Unpacking {name}", name=title))
                unpack_zip(Path(payload["place"]), title, files)
            case "folder":
                job.doing(Sentence("Reading {name}", name=title))
                copy_folder(Path(payload["place"]).expanduser(), files)
            case "hub":
                title = payload["place"]
                download(job, title, payload.get("revision"), files)
            case other:
                raise ValueError(f"not a source: {other}")
        job.check_stop()
        job.doing(Sentence("Checking the adapter"))
        card = check_adapter(files, title, base=payload.get("base"))
        job.check_stop()
        name = (payload.get("name") or "").strip() or _name(title)
        adapter = adapter_store.add(
            job.home,
            job.store,
            source=files,
            name=name,
            run_id=None,
            card={**card, "imported_from": title},
            adapter_id=f"{time.strftime('%Y%m%d-%H%M%S')}-{token_hex(3)}",
        )
    return {"adapter": adapter, "name": name}


def unpack_zip(path: Path, title: str, target: Path) -> None:
    """Unpack the adapter in a zip to `target`; it may lie in a folder of the zip.

    Raises StudioError for a zip that is damaged, too large or malicious, or that holds no adapter.
    """
    members = archive.check_archive(path, title, MAX_FILES)
    names = [member.filename.replace("\\", "/") for member in members]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StudioError(
            "{name} holds two files named '{inside}'. Make the zip again from a plain folder.",
            name=title,
            inside=twice[:80],
        )
    root = _root(names, title)
    folder, copies = archive.unpack(path, title)
    with folder:
        _take({inside.replace("\\", "/"): copy for inside, copy in copies}, root, title, target)


def copy_folder(source: Path, target: Path) -> None:
    """Copy the adapter in a folder of this machine to `target`. Links are not followed.

    Raises StudioError if there is no such folder or no adapter in it.
    """
    if not source.is_dir():
        raise StudioError("There is no folder '{folder}'; give the full path of the adapter's folder.", folder=source)
    found = [*source.iterdir(), *source.glob("member*/*")]
    files = {
        str(path.relative_to(source).as_posix()): path for path in found if path.is_file() and not path.is_symlink()
    }
    _take(files, _root(files, str(source)), str(source), target)


def download(job, name: str, revision: str | None, target: Path) -> None:
    """Download an adapter from the Hub to `target`.

    Raises StudioError if it is unknown or gated, holds no adapter in safetensors, or if the Hub is unreachable.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    job.doing(Sentence("Asking the hub about {name}", name=name))
    try:
        info = HfApi().model_info(name, revision=revision)
        names = [item.rfilename for item in info.siblings]
        _root([each for each in names if "/" not in each], name)
        refuse_pickles(names, name)
        job.check_stop()
        job.doing(Sentence("Downloading {name}", name=name))
        patterns = [glob.escape(each) for each in names if _wanted(each)]
        folder = Path(snapshot_download(name, revision=info.sha, allow_patterns=patterns))
    except GatedRepoError as error:
        raise StudioError(
            "The adapter '{name}' is gated: accept its licence on its hub page, log in with `hf auth login`, then try "
            "again.",
            name=name,
        ) from error
    except RepositoryNotFoundError as error:
        raise StudioError(
            "The hub has no adapter called '{name}' (or it is private); check the spelling, or log in with `hf auth "
            "login`.",
            name=name,
        ) from error
    except StudioError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in (
            "httpx",
            "httpx2",
            "httpcore",
            "huggingface_hub",
        ):
            raise
        raise StudioError(
            "The hub cannot be reached, so '{name}' was not imported; check the network, or import a zip or a folder.",
            name=name,
        ) from error
    # Files of the Hub's cache are links to its blobs.
    files = {str(path.relative_to(folder).as_posix()): path for path in folder.rglob("*") if path.is_file()}
    _take(files, "", name, target)


def _root(names, title: str) -> str:
    """The folder of the adapter among the file `names`, "" or ending in "/": where its configuration lies highest."""
    found = sorted(
        (name for name in names if PurePosixPath(name).name == CONFIG), key=lambda name: (name.count("/"), name)
    )
    if found:
        return found[0].removesuffix(CONFIG)
    if any(PurePosixPath(name).name == "config.json" for name in names):
        raise StudioError(
            "{name} holds a whole model, not an adapter: unpack it, and give its folder as the base model on the "
            "Method tab.",
            name=title,
        )
    raise StudioError(
        "{name} holds no {file}, so it is no adapter of peft. Choose the adapter's own zip or folder.",
        name=title,
        file=CONFIG,
    )


def _take(files: dict[str, Path], root: str, title: str, target: Path) -> None:
    """Copy what belongs to an adapter from `files` (path inside → file) below `root` to `target`.

    title: of the source, for the error that is raised if the weights are there as pickles only.
    """
    inside = {name.removeprefix(root): path for name, path in files.items() if name.startswith(root)}
    refuse_pickles(inside, title)
    for name, path in inside.items():
        if _wanted(name):
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / name)


def _wanted(name: str) -> bool:
    """Whether a file belongs to an adapter: one of its own, or of a member of an ensemble in a folder of that name."""
    folder, _, file = name.rpartition("/")
    return file in _TAKEN and (not folder or ("/" not in folder and folder.startswith("member")))


def _name(title: str) -> str:
    """A name for an imported adapter from the name of its file, folder or repository."""
    stem = title.rsplit("/", 1)[-1].removesuffix(".zip")
    return " ".join("".join(c if c.isprintable() else " " for c in stem).split())[:120] or "adapter"
