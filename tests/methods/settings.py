"""What a run would tell a method, for methods that are wrapped without one."""

from studio.methods import Setting


def setting(**more) -> Setting:
    """A `Setting` whose batches are two rows of eight tokens, the first two of them not trained, other ones in each
    batch."""
    return Setting(**{"batches": batches, **more})


def batches(count: int) -> list[dict]:
    import torch

    made = []
    for index in range(count):
        ids = torch.randint(3, 90, (2, 8), generator=torch.Generator().manual_seed(index))
        labels = ids.clone()
        labels[:, :2] = -100
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    return made
