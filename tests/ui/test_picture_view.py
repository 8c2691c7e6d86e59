"""What is shown of a picture: as the model gets it, its patches and its class; and a sentence where that is not
known."""

import json
import shutil

import pytest

from studio.draft import DraftEditor
from studio.home import STARTER, Home
from studio.presets import apply, preset
from studio.store import Store
from studio.ui.token_view import view_html
from tests.ui.bare import bare_page


@pytest.fixture
def editor(tmp_path):
    home = Home(tmp_path / "home")
    made = DraftEditor(home, Store(home.database))
    made.change(**apply(preset("leaves"), made.draft()))
    return made


def test_a_picture_as_the_model_gets_it(editor):
    shown = view_html(bare_page(), editor.preflight(), 3)
    record = editor.preflight().dataset.train[2]
    assert (
        f"Picture 3 of 200: {record.value['image'].rpartition('!')[2]}. The label to predict is "
        f"{record.value['label']}." in shown
    )
    assert (
        "48 × 48 pixels, their colours as numbers from -1 to 1" in shown.replace("−", "-")
        and "6 × 6 patches of 8 × 8 pixels" in shown
    )
    assert shown.count("<img src=") == 2 and 'class="grid"' in shown and "mirrored" not in shown
    editor.change(task={**editor.draft()["task"], "augment": True})
    assert "mirrored and shifted" in view_html(bare_page(), editor.preflight(), 999)


def test_an_incomplete_processor_config_raises_a_studio_error(editor, tmp_path):
    shutil.copytree(STARTER.parent / "starter_vit", tmp_path / "vit")
    path = tmp_path / "vit" / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "do_pad": True}))
    editor.change(model={**editor.draft()["model"], "name": str(tmp_path / "vit")})
    shown = view_html(bare_page(), editor.preflight(), 1)
    assert "cannot be shown here" in shown and "<img" not in shown
