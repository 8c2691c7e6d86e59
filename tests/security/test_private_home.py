"""Other users of the machine can read nothing of the home folder."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import gradio as gr
import httpx
import pytest

from studio.home import REPOSITORY, Home
from studio.store import Store
from studio.ui.window import build


@pytest.fixture(autouse=True)
def open_umask():
    """The usual umask of a user's shell, whatever the tests before have set."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def readable_by_others(root: Path) -> list[str]:
    """What somebody else could open: a folder that is closed protects all that is in it."""
    if not stat.S_IMODE(root.stat().st_mode) & 0o077:
        return []
    found = [str(root)]
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        found += readable_by_others(path)
    return found


def test_a_new_home_is_closed_with_all_that_is_written_into_it(tmp_path):
    home = Home(tmp_path / "home")
    Store(home.database)
    (home.logs / "window.log").write_text("x")
    assert readable_by_others(home.root) == []
    for path in home.root.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_home_of_before_is_closed(tmp_path):
    root = tmp_path / "home"
    root.mkdir(0o755)
    Store(root / "studio.sqlite3")
    assert readable_by_others(root)
    assert readable_by_others(Home(root).root) == []


def test_a_folder_with_other_files_keeps_its_mode(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine, for my group to read")
    tmp_path.chmod(0o755)
    home = Home(tmp_path)
    Store(home.database)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert readable_by_others(tmp_path) == [str(tmp_path), str(tmp_path / "thesis.tex")]


def test_a_home_whose_modes_cannot_be_changed_opens_and_says_so(tmp_path, monkeypatch, caplog):
    def refuse(self, mode):
        raise PermissionError("Operation not permitted")

    root = tmp_path / "bucket"
    Home(root)
    root.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", refuse)
    Store(Home(root).database)
    Home(root)
    assert "stays readable by other users" in caplog.text


def test_worker_processes_write_private_files(tmp_path):
    code = "import sys; from studio.home import Home; (Home(sys.argv[1]).logs / 'job.log').write_text('x')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "home")], cwd=REPOSITORY, check=True)
    assert stat.S_IMODE((tmp_path / "home/logs/job.log").stat().st_mode) == 0o600


def test_uploads_never_lie_in_the_shared_temporary_folder(tmp_path, serve, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")  # restored after the test
    home = Home(tmp_path / "home")
    demo = build(home)
    address = serve(demo)
    own = {"Origin": address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    uploaded = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.jsonl", b"{}")}, headers=own).json()[0]
    assert Path(uploaded).is_relative_to(home.incoming)
    assert not stat.S_IMODE(Path(uploaded).stat().st_mode) & 0o077
    files = [block for block in demo.blocks.values() if isinstance(block, gr.File | gr.DownloadButton)]
    assert files and all(Path(block.GRADIO_CACHE).is_relative_to(home.root) for block in files)
