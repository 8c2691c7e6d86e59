"""Which models on offer fit a machine, by their size alone."""

from studio.forecast import fits
from studio.hardware import GB, Gpu, Hardware
from studio.methods import METHODS
from studio.models.catalogue import catalogue, catalogue_entry

SMALL = Hardware("CPU", cores=2, memory=23 * GB, free=21 * GB, bf16=False)


def test_what_fits():
    lora, qlora, full = METHODS["lora"], METHODS["qlora"](), METHODS["full"]
    eight, seventy, starter = (
        catalogue_entry("Qwen/Qwen3-8B"),
        catalogue_entry("meta-llama/Llama-3.3-70B-Instruct"),
        catalogue()[0],
    )
    assert "or QLoRA" in str(fits(eight, SMALL, lora)) and fits(eight, SMALL, qlora) is None
    assert str(fits(seventy, SMALL, qlora)).endswith("choose a smaller model.")
    assert fits(starter, SMALL, full) is None
    large = Hardware("CPU", 8, 64 * GB, 60 * GB, True, gpus=(Gpu(0, "NVIDIA H100", 80 * GB, 1 * GB, (9, 0), ""),))
    packed, scout = catalogue_entry("openai/gpt-oss-20b"), catalogue_entry("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    assert fits(packed, large, lora) is None and "cannot be quantised in another way" in str(fits(packed, large, qlora))
    assert str(fits(packed, SMALL, lora)).endswith("choose a smaller model.")  # QLoRA would not help
    for method in (lora, qlora):  # no quantiser reaches the experts
        assert str(fits(scout, large, method)).endswith("choose a smaller model.")
    card = Hardware("CPU", 8, 64 * GB, 60 * GB, True, gpus=(Gpu(0, "NVIDIA L40S", 48 * GB, 1 * GB, (8, 9), ""),))
    assert (
        fits(seventy, card, qlora) is None
    )  # Dettmers 2023: 65 B on one 48 GB GPU; what chat holds there is given back
    assert fits(eight, card, lora) is None and fits(eight, card, full) is not None
    assert fits(eight, card, lora, device="cpu", quantisation="int8") is None
