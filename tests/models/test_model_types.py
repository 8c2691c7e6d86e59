"""The committed list of model types is that of the installed transformers.

`python tests/models/test_model_types.py` rewrites the list after an update of transformers.
"""

import json
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "studio" / "models" / "model_types.json"


def model_types() -> dict:
    """The list, from the mappings of the installed transformers."""
    import transformers
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    to_text = {*auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES, *auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES}
    return {
        "transformers": transformers.__version__.rpartition(".")[0],
        "known": sorted(CONFIG_MAPPING_NAMES),
        "causal_lm": sorted(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        "text_classification": sorted(auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
        "image_classification": sorted(auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        "encoder": sorted(set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES) - to_text),
        "encoder-decoder": sorted(to_text),
    }


def test_the_list_is_that_of_the_installed_transformers():
    assert json.loads(FILE.read_text(encoding="utf-8")) == model_types(), (
        "run `python tests/models/test_model_types.py`"
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps(model_types(), indent=0) + "\n", encoding="utf-8")
