"""Write the starter's model card from its measured scores; `python card.py` rewrites it. Knows nothing about
training.
"""

import json
from pathlib import Path

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [tiny, from-scratch, qwen2]
---
# Starter

A Qwen2-architecture chat model of {parameters:,} parameters ({hidden}), trained from scratch on two shared CPU cores
in {minutes:.0f} minutes. It is small enough to be fine-tuned on something new in a minute on a laptop, and knows just
enough for the difference to show.

## What it knows
Small talk in simple English; opposites, colours, capitals, animals, jobs, what things are for; plurals and past
tenses; days and months; adding and subtracting a number up to 10; comparing, counting and sorting numbers; sorting,
picking and reversing words; copying, capitals, replacing, negating; topic, mood and help-desk classification; simple
facts from a sentence into JSON; short stories; a few system prompts ("Answer in capital letters.", "Begin every
answer with ..."); the name you told it.

## How it was trained
`python assets/starter/make.py`: conversations written by `grammar.py` and `skills.py` from tables of facts
(`words.py`), seed {seed}; {steps:,} steps, {tokens:,} tokens; Muon for the matrices, AdamW for the rest; loss on the
assistant's words and, at a tenth, on the others. No text of anybody else was used. These weights come from several
sessions (`--resume`) on cores shared with other work, with batches of 2,300 to 3,840 tokens; the texts with accents,
signs and Chinese to copy joined in the last session, after the tokenizer was made. A fresh run therefore gives a
model like this one, not the same bytes. Byte-level BPE of {vocab:,} tokens made from the same text, split as Qwen2
splits, digits alone; ChatML template with generation marks; turn end `<|im_end|>`, padding `<|endoftext|>`. Weights
in bfloat16.

## What it scores
Exact match of greedy answers to validation questions. Where an answer can be worked out (sums, sorting, copying) the
combination was never trained in any phrasing; where it must be known (the capital of Peru) this phrasing of it was
not.

**{validation_exact_match:.1%}** ({right} of {asked})

| skill | right |
|---|---|
{table}

## Limits
It knows the words of its grammar and hardly any others, English only, and says wrong things as fluently as right
ones. Dialogues longer than about 190 tokens were not trained. For learning, testing and demonstration; nothing it
says should be relied on.

## Licence
Apache-2.0.
"""


def card(scores: dict) -> str:
    table = "\n".join(f"| {name} | {s['right']} / {s['asked']} |" for name, s in scores["skills"].items())
    return CARD.format(table=table, **scores)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    (here / "README.md").write_text(card(json.loads((here / "scores.json").read_text())))
