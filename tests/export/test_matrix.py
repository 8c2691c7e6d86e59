"""Every method × every export that it allows, reloaded by stock tools; what it does not allow says why.

That stock peft loads what a method saves is shown by the methods' own suite; here the files have gone through an
export.
"""

from __future__ import annotations

import pytest

from studio.export import outputs
from studio.export.source import find_source
from studio.export.targets import TARGETS
from studio.home import STARTER
from studio.library import adapter_store
from studio.methods import METHODS
from studio.words import StudioError
from tests.export.conftest import run_export
from tests.methods.method_cases import batches, teach, wrapped
from tests.sampling import sampled

# One method of each kind of artefact.
SAMPLE = {"lora", "dora", "adalora", "vera", "ia3", "bitfit", "ln_tuning", "prefix_tuning", "adapter", "long_lora"}
LOCAL = {"zip": {}, "merged": {}, "gguf": {"format": "F32"}, "gguf_lora": {"format": "F32"}}


@pytest.fixture
def fine_tuned(request, home, store, tmp_path):
    """An adapter of the method, after two steps on the starter, in the library."""
    name = request.param
    needs_others = name in ("fusion", "intrinsic_prompt")
    method, _, model = wrapped(name, request.getfixturevalue("adapters") if needs_others else None)
    teach(model, method, batches(2))
    method.finish(model, STARTER)
    folder = tmp_path / "trained"
    folder.mkdir()
    method.save(model, folder)
    card = {
        "kind": "model" if method.artefact_type == "model" else "adapter", "method": name,
        "artefact_type": method.artefact_type,
        "base": "starter", "task": "chat", "recipe": {"method": method.model_dump(mode="json")},
    }  # fmt: skip
    return adapter_store.add(home, store, source=folder, name=name, run_id="x", card=card)


@pytest.mark.slow
@pytest.mark.parametrize("fine_tuned", sampled(METHODS, SAMPLE), indirect=True)
def test_every_export_that_it_allows_is_what_the_adapter_is(fine_tuned, home, store, shared_reader):
    source, made = find_source(home, store, fine_tuned), []
    for target, options in LOCAL.items():
        if refusal := TARGETS[target].refusal(source):
            assert len(str(refusal)) > 30
            with pytest.raises(StudioError):
                run_export(home, store, fine_tuned, target, **options)
            continue
        proofs = run_export(home, store, fine_tuned, target, **options)["proofs"]
        assert proofs and all(proof["difference"] <= 1e-4 for proof in proofs), (target, proofs)
        made.append(target)
    assert "zip" in made
    assert {each["target"] for each in outputs.listing(home, fine_tuned)} == set(made) - {"merged"}
