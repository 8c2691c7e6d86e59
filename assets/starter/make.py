"""Makes the starter: a tiny Qwen2 chat model, trained from scratch on the conversations of `grammar.py`, as a Hugging
Face folder.

    python assets/starter/make.py                 # everything, about 35 minutes on two cores
    python assets/starter/make.py --minutes 3     # a sketch of it

Reads top to bottom: tokenizer, model, packed batches, training, evaluation, export. The data are the same for the
same seed; how many steps fit into `--minutes` depends on the machine (`--steps` fixes them). Knows nothing about the
studio: the folder is an ordinary model.
"""

import argparse
import copy
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from card import card  # noqa: E402
from grammar import Message, documents, validation_set  # noqa: E402

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
ROW = 192  # tokens in a packed row; longer documents are left out
HIDDEN = "5 layers, width 256, 4 query and 2 key/value heads, tied embeddings"
ROWS = 8  # rows in a batch, of which every process has its own

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STRICT_SPLIT = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

# ChatML. The generation markers are for `apply_chat_template(..., return_assistant_tokens_mask=True)`.
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{% generation %}{{- message['content'] + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}"
    "{%- else %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


# ---- tokenizer -------------------------------------------------------------------------------------------------------


def make_tokenizer(vocab_size: int, seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the training text. Each digit is a token, so that sums can be learned digit by digit.

    `AutoTokenizer` gives every Qwen2 folder Qwen's own pre-tokenisation, whatever tokenizer.json says, so that is
    what is saved. The merges are trained with a stricter one, in which a quotation mark never joins a word: it helps
    copying into JSON, and is valid under both.
    """
    tokenizer = Tokenizer(models.BPE())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(STRICT_SPLIT), "isolated"), to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    texts = (
        part
        for doc in itertools.islice(documents(seed), 60_000)
        for part in ([doc] if isinstance(doc, str) else [f"{m['role']}\n{m['content']}" for m in doc])
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"), to_bytes])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


# ---- model -----------------------------------------------------------------------------------------------------------


def make_model(tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=640,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config.update(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, max_new_tokens=128
    )
    return model


# ---- batches ---------------------------------------------------------------------------------------------------------


def encode(doc: list[Message] | str, tokenizer: PreTrainedTokenizerFast) -> tuple[list[int], list[float]]:
    """(token ids, loss weight of each). Weight 1 for the assistant's tokens, 0.1 for the others, from which the
    language is learned.
    """
    raw = tokenizer.backend_tokenizer
    if isinstance(doc, str):
        ids = raw.encode(doc).ids + [tokenizer.eos_token_id]
        return ids, [1.0] * len(ids)
    newline = raw.encode("\n").ids
    ids, weights = [], []
    for message in doc:
        head = raw.encode(f"{START}{message['role']}\n").ids
        body = raw.encode(message["content"]).ids + [tokenizer.eos_token_id]
        ids += head + body + newline
        weights += (
            [0.1] * len(head) + [1.0 if message["role"] == "assistant" else 0.1] * len(body) + [0.1] * len(newline)
        )
    return ids, weights


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, late: bool = False) -> Iterator[dict[str, torch.Tensor]]:
    """Endless batches of ROWS rows of ROW tokens, whole documents packed first-fit; each document sees only itself.

    ids, positions (ROWS, ROW) int64 · weights (ROWS, ROW) float, 0 on what must not be predicted · mask (ROWS, 1, ROW,
    ROW) bool
    """
    source = (pair for pair in (encode(doc, tokenizer) for doc in documents(seed, late)) if len(pair[0]) <= ROW)
    causal = torch.ones(ROW, ROW).tril().bool()
    while True:
        ids, weights = torch.zeros(ROWS, ROW, dtype=torch.long), torch.zeros(ROWS, ROW)
        positions, owner = torch.zeros(ROWS, ROW, dtype=torch.long), torch.full((ROWS, ROW), -1)
        used, misses = [0] * ROWS, 0
        while misses < 4:  # a few misses in a row: the batch is as good as full
            tokens, weight = next(source)
            row = next((r for r in range(ROWS) if used[r] + len(tokens) <= ROW), None)
            if row is None:
                misses += 1
                continue
            at = slice(used[row], used[row] + len(tokens))
            ids[row, at], positions[row, at] = torch.tensor(tokens), torch.arange(len(tokens))
            weights[row, at] = torch.tensor([0.0] + weight[1:])  # nothing precedes the first token
            owner[row, at] = used[row]
            used[row] += len(tokens)
        mask = (owner[:, None, :, None] == owner[:, None, None, :]) & causal
        yield {"ids": ids, "positions": positions, "weights": weights, "mask": mask}


# ---- training --------------------------------------------------------------------------------------------------------


def optimizers(model: Qwen2ForCausalLM, lr: float, rank: int, ranks: int) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers (fewer steps to the same loss), AdamW for embeddings, norms and biases; this
    process's share of both.
    """
    layers = [p for p in model.model.layers.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in layers)]
    both = [
        torch.optim.Muon(layers[rank::ranks], lr=lr, weight_decay=0.1, ns_steps=4, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest[rank::ranks], lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]
    for optimizer in both:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return both


def loss_of(model: Qwen2ForCausalLM, ids, positions, weights, mask) -> torch.Tensor:
    logits = model(
        input_ids=ids, position_ids=positions, attention_mask={"full_attention": mask}, use_cache=False
    ).logits
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum() / weights.sum()


def train_worker(
    rank: int, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace, shared: dict
) -> None:
    """One of the training processes. The weights are in shared memory: each process computes the gradient of its own
    batch, then updates its own share of the weights with the mean of all gradients. Rank 0 keeps the time, prints
    and exports.
    """
    torch.set_num_threads(1)
    params, grads, clock, barrier = list(model.parameters()), shared["grads"], shared["clock"], shared["barrier"]
    opts = optimizers(model, args.lr, rank, args.processes)
    mine = [p for optimizer in opts for group in optimizer.param_groups for p in group["params"]]
    begin = dict(zip(params, itertools.accumulate([0] + [p.numel() for p in params])))
    seed = 1 + args.seed + 1000 * rank + args.before["steps"]
    stream, late = batches(tokenizer, seed, late=args.resume), args.resume
    run = torch.compile(loss_of) if args.compile else loss_of
    for turn in range(args.processes):  # one compiles, outside the clock, the others then find it in the cache
        if turn == rank:
            run(model, **next(stream)).backward()
        barrier.wait()
    start = saved = time.monotonic()
    smooth = None
    for step in itertools.count():
        elapsed = (time.monotonic() - start) / 60
        if rank == 0:
            clock[0] = step / args.steps if args.steps else elapsed / args.minutes
        barrier.wait()  # every weight is up to date
        done = clock[0].item()
        if done >= 1:
            break
        if rank == 0 and time.monotonic() - saved > 60 * args.every:
            export(
                model,
                tokenizer,
                args.out,
                training_facts(args, step, elapsed, smooth) | {"finished": False},
                per_skill=6,
            )
            saved = time.monotonic()
        if done > 0.4 and not late:
            stream, late = batches(tokenizer, seed, late=True), True
        model.zero_grad()
        loss = run(model, **next(stream))
        loss.backward()
        for p in params:
            grads[rank, begin[p] : begin[p] + p.numel()] = p.grad.flatten()
        barrier.wait()  # every gradient is there
        for p in mine:
            p.grad.copy_(grads[:, begin[p] : begin[p] + p.numel()].mean(0).view_as(p))
        scale = min(1.0, (step + 1) / 30, max(0.02, (1 - done) / 0.6))  # warm up, hold, then down over the last 60 %
        for optimizer in opts:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale
            optimizer.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if rank == 0 and step % 50 == 49:
            print(f"step {step + 1}  {elapsed:.1f} min  loss {smooth:.4f}  lr x{scale:.2f}", flush=True)
    if rank == 0:
        torch.set_num_threads(args.processes)
        export(
            model,
            tokenizer,
            args.out,
            training_facts(args, step, elapsed, smooth) | {"finished": True},
            args.per_skill,
            show_wrong=60,
        )


def train(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace) -> None:
    """One process a core, synchronised once a step: threads would synchronise at every matrix product, and wait for
    each other on shared cores.
    """
    size = sum(p.numel() for p in model.parameters())
    shared = {
        "grads": torch.zeros(args.processes, size).share_memory_(),
        "clock": torch.zeros(1).share_memory_(),
        "barrier": torch.multiprocessing.get_context("spawn").Barrier(args.processes),
    }
    torch.multiprocessing.spawn(train_worker, (model.share_memory(), tokenizer, args, shared), nprocs=args.processes)


def training_facts(args: argparse.Namespace, step: int, minutes: float, loss: float) -> dict:
    before = args.before
    return {
        "steps": before["steps"] + step,
        "tokens": before["tokens"] + step * args.processes * ROWS * ROW,
        "minutes": round(before["minutes"] + minutes, 1),
        "loss": round(loss, 4),
        "seed": args.seed,
        "vocab": args.vocab,
        "hidden": HIDDEN,
    }


# ---- evaluation ------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def generate_answers(model, tokenizer, conversations: list[list[Message]], batch: int = 96) -> list[str]:
    """The greedy answer to each conversation (which ends with a user message), in order."""
    prompts = [tokenizer.apply_chat_template(c, add_generation_prompt=True, tokenize=False) for c in conversations]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # like lengths together: little padding
    out = [""] * len(prompts)
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        inputs = tokenizer(
            [prompts[i] for i in chosen],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        )
        tokens = model.generate(**inputs, max_new_tokens=96, do_sample=False)[:, inputs["input_ids"].shape[1] :]
        for i, text in zip(chosen, tokenizer.batch_decode(tokens, skip_special_tokens=True)):
            out[i] = text.strip()
    return out


def score(folder: Path, per_skill: int, show_wrong: int = 0) -> dict:
    """Exact match of greedy answers to validation questions, by skill, of the model saved in `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    items = [(name, c) for name, cs in validation_set(per_skill).items() for c in cs]
    predictions = generate_answers(model, tokenizer, [c[:-1] for _, c in items])
    skills: dict[str, dict[str, int]] = {}
    for (name, conversation), text in zip(items, predictions):
        row = skills.setdefault(name, {"right": 0, "asked": 0})
        row["asked"] += 1
        row["right"] += text == conversation[-1]["content"]
        if text != conversation[-1]["content"] and show_wrong > 0:
            print(f"  {name}: {conversation[-2]['content']!r} -> {text!r}, not {conversation[-1]['content']!r}")
            show_wrong -= 1
    right, asked = sum(s["right"] for s in skills.values()), sum(s["asked"] for s in skills.values())
    return {"validation_exact_match": round(right / asked, 4), "right": right, "asked": asked, "skills": skills}


# ---- export ----------------------------------------------------------------------------------------------------------


def export(model, tokenizer, folder: Path, facts: dict, per_skill: int, show_wrong: int = 0) -> dict:
    """Write the model in 16 bit, score what was written, then move every file into place, so that readers never see a
    partial file.
    """
    new = folder / ".new"
    shutil.rmtree(new, ignore_errors=True)
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(new)
    tokenizer.save_pretrained(new)
    scores = facts | {"parameters": model.num_parameters()} | score(new, per_skill, show_wrong)
    (new / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    (new / "README.md").write_text(card(scores))
    for file in new.iterdir():
        os.replace(file, folder / file.name)
    new.rmdir()
    weak = {name: f"{s['right']}/{s['asked']}" for name, s in scores["skills"].items() if s["right"] < 0.9 * s["asked"]}
    print(
        f"exported to {folder}: {scores['validation_exact_match']:.1%} of {scores['asked']} validation answers; "
        f"weak: {weak}",
        flush=True,
    )
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the starter model from scratch.")
    parser.add_argument("--minutes", type=float, default=30, help="training time")
    parser.add_argument("--steps", type=int, default=0, help="train so many steps instead of so many minutes")
    parser.add_argument("--every", type=float, default=6, help="minutes between exports on the way")
    parser.add_argument("--lr", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--vocab", type=int, default=3072, help="tokens in the vocabulary")
    parser.add_argument("--per-skill", type=int, default=25, help="validation questions a skill in the last evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="training processes, one a core")
    parser.add_argument("--resume", action="store_true", help="go on from the last export")
    parser.add_argument(
        "--no-compile", dest="compile", action="store_false", help="for machines without a C++ compiler: half the speed"
    )
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.out) if args.resume else make_tokenizer(args.vocab, args.seed)
    model = make_model(tokenizer)
    args.before = {"steps": 0, "tokens": 0, "minutes": 0.0}
    if args.resume:  # from what the last export left: its weights, not its optimiser
        model.load_state_dict(AutoModelForCausalLM.from_pretrained(args.out, dtype=torch.float32).state_dict())
        args.before = {"tokens": 0} | json.loads((args.out / "scores.json").read_text())
    print(f"{len(tokenizer)} tokens, {model.num_parameters():,} parameters", flush=True)
    train(model, tokenizer, args)


if __name__ == "__main__":
    main()
