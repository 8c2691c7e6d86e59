"""The rows of a search: written as they were read, the validation rows in two halves that share nothing."""

import pytest

from studio.data.dataset import load
from studio.presets import presets
from studio.recipe import recipe_from
from studio.search import plan, rows
from studio.search.space import proposed
from studio.words import StudioError

SAMPLES = {preset.name: preset for preset in presets("sample")}


def search_of(home, recipe):
    made = plan.Plan(
        id=plan.new_id(),
        title="Search",
        created=0.0,
        recipe=recipe.to_dict(),
        parameters=proposed(recipe, "rate"),
        metric="eval_loss",
        tries=3,
        minutes=1,
    )
    plan.write(home, made)
    return made


@pytest.mark.parametrize("name", SAMPLES)
def test_each_samples_rows_are_the_same_when_they_are_read_again(home, name):
    recipe = recipe_from(SAMPLES[name].values)
    made = search_of(home, recipe)
    choosing, reporting = rows.write(home, made)
    assert rows.counts(home, made.id) == (choosing, reporting) and abs(choosing - reporting) <= 2
    kind, place = recipe.task.record_kind, plan.folder(home, made.id) / "rows"
    separator = recipe.task.label_separator
    whole = load(recipe.data, want=kind, separator=separator)
    parts = [
        load(rows.data_of(place, recipe, part), want=kind, separator=separator) for part in ("choosing", "reporting")
    ]
    seen = [set(part.validation.digests.tolist()) for part in parts]
    assert not seen[0] & seen[1] and seen[0] | seen[1] == set(whole.validation.digests.tolist())
    assert parts[0].train.digests.tolist() == whole.train.digests.tolist()
    assert not (seen[0] | seen[1]) & set(whole.train.digests.tolist())


def test_too_few_validation_rows_are_refused(home, tmp_path):
    path = tmp_path / "few.jsonl"
    path.write_text("".join(f'{{"prompt": "{at}", "completion": "answer {at}"}}\n' for at in range(8)))
    recipe = recipe_from({"data": {"source": str(path), "validation_fraction": 0.1}})
    with pytest.raises(StudioError, match="at least 4 different validation rows, but there are 1"):
        rows.write(home, search_of(home, recipe))
    assert rows.counts(home, plan.listed(home)[0]) is None
