"""Register custom tuners with peft.

peft's `register_peft_method` accepts only members of its enum `PeftType`, which cannot be extended by a public API, so
the member is added first, through Enum's private attributes. No other module does this.
"""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import PeftType, register_peft_method


def register(name: str, config_cls: type, model_cls: type) -> PeftType:
    """Return the PeftType member for `name` (lower case); add it and register the two classes if peft lacks it."""
    key = name.upper()
    if key not in PeftType.__members__:
        member = str.__new__(PeftType, key)
        member._name_, member._value_ = key, key
        type.__setattr__(PeftType, key, member)  # Enum's own __setattr__ rejects new members
        PeftType._member_names_.append(key)
        PeftType._member_map_[key] = member
        PeftType._value2member_map_[key] = member
    if PeftType[key] not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=name, config_cls=config_cls, model_cls=model_cls)
    return PeftType[key]
