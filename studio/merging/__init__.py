"""Make adapters of adapters: blend LoRA adapters, convert an adapter to LoRA, switch the task of a merged model.

    lora_delta.py    ΔW = B·A of each layer: read from an adapter's files, factor into a rank, write as stock LoRA
    blend.py         weighted sums of ΔW and their kin (SVD, TIES, DARE, magnitude pruning)
    convert.py       ΔW that an adapter of any mergeable type makes, as LoRA
    fidelity.py      how far one adapter's answers are from another's
    task_switch.py   replace the adapter that was merged into a model by another one, bit for bit
    jobs.py          the jobs `blend`, `convert` and `switch`

Options and refusals import no torch, so that the window can use them.
"""
