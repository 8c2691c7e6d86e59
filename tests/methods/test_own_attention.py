"""The form knows which models take no prefix as transformers knows it."""

import re
import sys

import pytest
import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
)

from studio.methods.prefix_tuning import KEYS, OWN_ATTENTION


@pytest.mark.slow
def test_own_attention_types_match_transformers():
    found = set()
    for kind, names in {**MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES, **MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}.items():
        model = getattr(transformers, names if isinstance(names, str) else names[0])
        source = sys.modules[model.__module__].__spec__.loader.get_source(model.__module__)
        if not model._can_set_attn_implementation() and re.search(rf"self\.({'|'.join(KEYS)}) = ", source):
            found.add(kind)
    assert found == set(OWN_ATTENTION)
