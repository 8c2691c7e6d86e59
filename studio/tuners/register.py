"""Makes a tuner of ours known to peft by name. The one place that touches the inside of an enum.

peft's `register_peft_method` takes only members of its `PeftType`, which is closed, so the member is added first. It knows
nothing about what is registered.
"""

from __future__ import annotations

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import PeftType, register_peft_method


def register(name: str, config_cls: type, model_cls: type) -> PeftType:
    """The PeftType member of `name` (lower case), added and bound to the two classes where peft does not have it yet."""
    key = name.upper()
    if key not in PeftType.__members__:
        member = str.__new__(PeftType, key)
        member._name_, member._value_ = key, key
        type.__setattr__(PeftType, key, member)  # Enum's own __setattr__ guards its members
        PeftType._member_names_.append(key)
        PeftType._member_map_[key] = member
        PeftType._value2member_map_[key] = member
    if PeftType[key] not in PEFT_TYPE_TO_CONFIG_MAPPING:
        register_peft_method(name=name, config_cls=config_cls, model_cls=model_cls)
    return PeftType[key]
