"""LongLoRA's longer context is recorded, and restored by everyone who loads the adapter."""

import json
import re
import zipfile

import pytest
import torch

from studio.home import STARTER
from studio.models.load import load_base
from studio.models.rope_scaling import apply_adapter

pytestmark = pytest.mark.slow
LONG = {"name": "long_lora", "group": 32, "rank": 4}
IDS = torch.randint(3, 3000, (1, 90), generator=torch.Generator().manual_seed(1))


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS, use_cache=False).logits


def loaded(folder):
    return apply_adapter(load_base(STARTER), folder)


def test_card_zip_chat_and_merge_restore_the_context(runs, tmp_path):
    from studio.chat.generation import context_length
    from studio.chat.multi_adapter import MultiAdapterModel, adapter_kind
    from studio.export.archive import zip_adapter
    from studio.export.job import export
    from studio.jobs.job import Job

    long, plain = (
        runs.start(method, max_steps=2, learning_rate=3e-3, max_length=48)
        for method in (LONG, {"name": "lora", "rank": 4})
    )
    folders = {name: runs.home.adapter(name) for name in (long, plain)}
    assert json.loads((folders[long] / "rope.json").read_text())["max_position_embeddings"] == 4096
    expected = {None: logits(load_base(STARTER)), **{name: logits(loaded(folder)) for name, folder in folders.items()}}
    assert (expected[long] - expected[None]).abs().max() > 0.1

    # Chat: one base, three askers in turn.
    shared = MultiAdapterModel(load_base(STARTER))
    for name, folder in folders.items():
        shared.load(name, folder, adapter_kind(name, folder), {plain, long})
    for who in (long, None, plain, long, plain, None):
        shared.activate(who)
        assert (logits(shared.model) - expected[who]).abs().max() < 1e-4, who
        assert context_length(shared.model) == (4096 if who == long else 1024)

    # The zip, with nothing but the stock code of its README.
    with zipfile.ZipFile(zip_adapter(runs.home, runs.store, long, tmp_path)) as archive:
        archive.extractall(tmp_path / "zip")
    assert (tmp_path / "zip" / "rope.json").exists()
    code = re.search(r"```python\n(.*?)answer = ", (tmp_path / "zip" / "README.md").read_text(), re.S)[1]
    assert "studio" not in code
    names: dict = {}
    exec(
        code.replace('"path/to/starter"', repr(str(STARTER))).replace("path/to/this/folder", str(tmp_path / "zip")),
        names,
    )
    assert (
        logits(names["model"].float()) - expected[long]
    ).abs().max() < 0.3  # the starter's weights are 16-bit where nobody asks for 32

    # Merged, the context is in the model's own configuration.
    job_id = runs.store.queue_job("export", {"adapter": long, "target": "merged"})
    merged = export(Job(runs.store.job(job_id), runs.store, runs.home))
    whole = load_base(runs.home.adapter(merged["adapter"]))
    assert whole.config.max_position_embeddings == 4096
    assert (logits(whole) - expected[long]).abs().max() < 1e-3


def test_context_is_four_times_that_of_the_base():
    """Fine-tuned on rows of twice the starter's context, it guesses as well behind four times that context's first
    quarter as in it."""
    import torch.nn.functional as F

    from studio.home import SAMPLES
    from studio.methods import METHODS
    from studio.models.chat_tokenizer import ChatTokenizer

    notes, validation = (
        torch.tensor(ChatTokenizer(STARTER).encode((SAMPLES / name).read_text(encoding="utf-8")).ids)
        for name in ("notes.txt", "notes.validation.txt")
    )
    row = validation[None, :4096]
    assert row.shape[1] == 4 * load_base(STARTER).config.max_position_embeddings

    def loss(model) -> torch.Tensor:
        with torch.no_grad():
            found = model.eval()(input_ids=row, use_cache=False).logits[0, :-1]
        return F.cross_entropy(found, row[0, 1:], reduction="none")

    torch.manual_seed(0)
    model = METHODS["long_lora"](group=512).wrap(load_base(STARTER)).train()
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=2e-3)
    for step in range(7):
        ids = notes[None, step * 2048 : (step + 1) * 2048]
        model.train()(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    base, fine_tuned = loss(load_base(STARTER)), loss(model)
    assert fine_tuned[1024:].mean() < base[1024:].mean() - 2
    assert fine_tuned[3072:].mean() < fine_tuned[:1024].mean() + 0.25
