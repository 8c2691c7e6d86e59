"""What the studio finds out about a machine, and which device a run gets."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from studio import hardware
from studio.hardware import GB, Gpu, Hardware, choose_device, gigabytes, machine, parse_gpus
from studio.words import Sentence, StudioError

SMI = """0, GPU-aaa, NVIDIA GeForce RTX 4090, 24564, 20000, 8.9, 550.54
1, GPU-bbb, NVIDIA H100 80GB HBM3, 81559, 81000, 9.0, 550.54
2, GPU-ccc, Tesla T4, [N/A], [N/A], 7.5, 550.54
"""


def plain(**more) -> Hardware:
    return Hardware(**{"cpu": "CPU", "cores": 2, "memory": 23 * GB, "free": 20 * GB, "bf16": False, **more})


def test_this_machine_is_plausible():
    here = machine()
    assert here.cores >= 1 and 0 < here.free <= here.memory and here.cpu
    assert "this CPU" in str(here.title()) and "GB" in here.title().say("zh")


def test_gpus_as_nvidia_smi_lists_them():
    first, second = parse_gpus(SMI)  # the third is lost
    assert (first.device, first.memory, first.capability, first.driver) == ("cuda:0", 24564 * 2**20, (8, 9), "550.54")
    assert second.bf16 and not Gpu(0, "T4", 1, 1, (7, 5), "").bf16


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1,0", ["NVIDIA H100 80GB HBM3", "NVIDIA GeForce RTX 4090"]),
        ("GPU-bb", ["NVIDIA H100 80GB HBM3"]),
        ("", []),
        ("7", []),
    ],
)
def test_visible_devices_are_renumbered(visible, names):
    found = parse_gpus(SMI, visible)
    assert [gpu.name for gpu in found] == names
    assert [gpu.index for gpu in found] == list(range(len(names)))


def test_titles():
    gpus = parse_gpus(SMI)
    both = plain(gpus=gpus)
    assert str(both.title("cuda:0")) == "RTX 4090 (24 GB)"
    assert str(both.short("cuda:1")) == "H100 80GB HBM3"
    assert str(plain().title()) == "this CPU (2 cores, 23 GB)"
    assert str(plain(cores=1).title()) == "this CPU (1 core, 23 GB)"
    assert [gigabytes(size * GB) for size in (0.05, 0.94, 9.96, 23.4)] == ["0.05", "0.9", "10", "23"]


def test_picking_a_device():
    both = plain(gpus=parse_gpus(SMI))
    assert choose_device("auto", plain()) == "cpu"
    assert choose_device("cpu", both) == "cpu"
    assert choose_device("auto", both) == "cuda:0"
    assert choose_device("auto", both, busy={"cuda:0"}) == "cuda:1"
    assert choose_device("auto", both, busy={"cuda:0", "cuda:1"}) == "cuda:1"  # the roomier one, to queue on
    assert choose_device("cuda:1", both) == "cuda:1"
    with pytest.raises(StudioError, match="no GPU"):
        choose_device("cuda:0", plain())
    with pytest.raises(StudioError, match="cuda:0, cuda:1"):
        choose_device("cuda:5", both)
    with pytest.raises(StudioError, match="CUDA build"):
        choose_device("cuda:0", plain(unusable=Sentence("Install a CUDA build.")))


def test_a_hanging_driver_leaves_the_last_answer(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "_seen", (float("-inf"), ()))
    monkeypatch.setattr(hardware, "_FRESH", 0)
    monkeypatch.setattr(hardware.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(hardware.subprocess, "run", lambda *a, **k: SimpleNamespace(stdout=SMI))
    assert len(hardware._gpus()) == 2

    def hang(*arguments, timeout, **more):
        raise subprocess.TimeoutExpired("nvidia-smi", timeout)

    monkeypatch.setattr(hardware.subprocess, "run", hang)
    assert len(hardware._gpus()) == 2
    monkeypatch.setattr(hardware, "_torch_version", lambda: "2.13.0+cpu")
    assert machine().gpus == () and "CPUs only" in str(machine().unusable)


def test_a_container_has_what_its_cgroup_grants(monkeypatch, tmp_path):
    own = tmp_path / "box"
    own.mkdir()
    (own / "memory.max").write_text(f"{2 * GB}\n")
    (own / "memory.current").write_text(f"{GB}\n")
    (own / "memory.stat").write_text(f"anon 5\ninactive_file {GB // 2}\n")
    (own / "cpu.max").write_text("50000 100000\n")
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    monkeypatch.setattr(hardware, "_cgroup_folders", lambda: [own, tmp_path])
    assert hardware._memory() == (2 * GB, GB + GB // 2)
    assert hardware._cores() == 1
    (own / "memory.max").write_text("max\n")
    assert hardware._memory()[0] > 2 * GB


def test_no_torch():
    code = "import studio.hardware as h, sys; h.machine(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
