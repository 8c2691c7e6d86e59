"""Generate the sample datasets: six small text datasets in common file formats, each with a validation file.

    python assets/samples/make.py [FOLDER]

The output is deterministic. Questions and plain answers come from the starter's grammar (`assets/starter`): the starter
knows their content already, and only the style has to be learnt. Independent of models, tokenizers and training.
"""

import argparse
import csv
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "starter"))
import words as w  # noqa: E402
from grammar import TALK, closed, lower_first  # noqa: E402
from skills import Task, cap  # noqa: E402

SEED = 20


def distinct(make: Callable[[random.Random], dict], count: int, key: str, rng: random.Random) -> list[dict]:
    """`count` rows with distinct values of `key`, so that the parts of any split of them are disjoint."""
    rows: dict[str, dict] = {}
    while len(rows) < count:
        row = make(rng)
        rows.setdefault(row[key], row)
    return list(rows.values())


# ---- captain.jsonl: the starter's answers, rewritten in a sailor's style -----------------------------------

CAPTAIN_SKILLS = [
    "opposite",
    "colour",
    "capital",
    "young",
    "sound",
    "home",
    "legs",
    "job",
    "use",
    "plural",
    "past",
    "kind",
    "day",
    "month",
    "add",
    "subtract",
    "compare",
]
SAILOR = {
    "is": "be",
    "are": "be",
    "am": "be",
    "of": "o'",
    "you": "ye",
    "You": "ye",
    "your": "yer",
    "my": "me",
    "and": "an'",
}


def captain(answer: str) -> str:
    """Rewrite an answer in a sailor's style.

    "The opposite of hot is cold." -> "Arr, the opposite o' hot be cold, matey!"
    """
    body, mark = (answer[:-1], answer[-1]) if answer[-1] in ".!?" else (answer, ".")
    words = []
    for word in lower_first(body).split():
        bare = word.rstrip(".,!?")
        words.append(SAILOR.get(bare, bare) + word[len(bare) :])
    return f"Arr, {' '.join(words)}, matey{'?' if mark == '?' else '!'}"


def question(rng: random.Random) -> dict:
    task: Task = closed(rng, skill=rng.choice(CAPTAIN_SKILLS))
    return {"question": task.question, "answer": task.answer}


def captain_rows(rng: random.Random) -> tuple[list[dict], list[dict]]:
    """400 training and 80 validation rows. Small talk is in training only, because it has no single correct answer."""
    small = [{"question": q, "answer": answers[0]} for questions, answers in TALK for q in questions[:3]][:40]
    rows = distinct(question, 480 - len(small), "question", rng)
    train = rows[80:] + small
    rng.shuffle(train)
    chat = [
        {
            "messages": [
                {"role": "user", "content": r["question"]},
                {"role": "assistant", "content": captain(r["answer"])},
            ]
        }
        for r in train + rows[:80]
    ]
    return chat[:400], chat[400:]


# ---- tickets.csv: messages to a shop, labelled with the department that should handle them -----------------

PRODUCTS = ["coffee machine"] + [
    "lamp",
    "phone",
    "camera",
    "radio",
    "clock",
    "kettle",
    "guitar",
    "bicycle",
    "mirror",
    "printer",
    "keyboard",
]
TICKETS = {
    "billing": [
        "I was charged twice for the {p}",
        "the invoice for order {n} shows the wrong price",
        "you took {m} euros from my card, but the {p} costs less",
        "I need a receipt for order {n}",
        "my credit card was refused when I paid for the {p}",
        "why is my bill {m} euros higher than last month",
        "please send the invoice of the {p} to my company",
        "I paid for order {n} on {d}, but the page says unpaid",
    ],
    "shipping": [
        "my {p} has not arrived yet",
        "order {n} should have been here on {d}",
        "where is the parcel with my {p}",
        "the driver left the {p} at the wrong house",
        "can you send the {p} to another address",
        "tracking says that order {n} is still on its way",
        "how long does the delivery of a {p} take",
        "my parcel was promised for {d} and I am still waiting",
    ],
    "login": [
        "I forgot my password",
        "I cannot log in since {d}",
        "my account is locked after order {n}",
        "the code for my login never comes",
        "please change the email address of my account",
        "your page does not know my user name any more",
        "how do I reset my password",
        "somebody else is using my account",
    ],
    "fault": [
        "the {p} does not turn on",
        "my new {p} makes a strange noise",
        "the {p} stopped working on {d}",
        "the screen of the {p} stays black",
        "the {p} from order {n} is broken",
        "the button of my {p} is stuck",
        "the {p} gets very hot and smells of smoke",
        "the {p} loses water",
    ],
    "refund": [
        "I want my money back for the {p}",
        "how can I return the {p}",
        "please take back order {n}",
        "the {p} is too big, I would like to exchange it",
        "I sent the {p} back on {d}, when do I get my {m} euros",
        "I changed my mind and do not want the {p}",
        "may I return a {p} that was a present",
        "you have the {p} again, so please pay me back",
    ],
    "praise": [
        "thank you for the quick help with my {p}",
        "I love my new {p}",
        "the {p} is even better than I hoped",
        "your service on {d} was excellent",
        "great shop, I will buy a {p} again",
        "order {n} came early and everything is perfect",
        "the {p} makes my whole family happy",
        "my compliments to the team that packed the {p}",
    ],
}
OPENINGS = ["", "", "Hello, ", "Hi, ", "Good morning, ", "Dear team, ", "Hey, ", "Hello again, "]
CLOSINGS = [
    ".",
    ".",
    ". Thank you.",
    ". Please answer soon.",
    ". Best wishes, {who}",
    ". I wrote on {d2} already.",
    ". Thanks, {who}",
    "!",
]


def ticket(rng: random.Random) -> dict:
    label = rng.choice(list(TICKETS))
    body, opening = rng.choice(TICKETS[label]), rng.choice(OPENINGS)
    text = (opening + (body if opening else cap(body)) + rng.choice(CLOSINGS)).format(
        p=rng.choice(PRODUCTS),
        n=rng.randrange(1000, 9999),
        m=rng.randrange(5, 200),
        d=rng.choice(w.DAYS),
        d2=rng.choice(w.DAYS),
        who=rng.choice(w.NAMES),
    )
    return {"text": text, "label": label}


# ---- letters.csv: similar messages with two labels, department and urgency ---------------------------------

URGENCY = {
    "high": [
        "This is urgent.",
        "I need an answer today.",
        "Please hurry, I cannot wait any longer.",
        "Help me at once, please.",
        "It cannot wait until tomorrow.",
        "Please call me back within the hour.",
    ],
    "normal": [
        "Please answer this week.",
        "I look forward to your answer.",
        "An answer in the next days would be fine.",
        "Please let me know what to do.",
        "Please write back to {who}.",
        "",
    ],
    "low": [
        "There is no hurry.",
        "Take your time with the answer.",
        "It is not important, I only wanted you to know.",
        "Next month is early enough.",
        "No answer is needed.",
        "Whenever you find the time.",
    ],
}


def letter(rng: random.Random) -> dict:
    department, urgency = rng.choice(list(TICKETS)), rng.choice(list(URGENCY))
    body, wish, greeting = (
        rng.choice(TICKETS[department]),
        rng.choice(URGENCY[urgency]),
        rng.choice(["", "", "Hello. ", "Dear team. ", "Good morning. "]),
    )
    parts = [cap(body) + ".", wish] if rng.random() < 0.7 else [wish, cap(body) + "."]
    text = greeting + " ".join(part for part in parts if part)
    return {
        "text": text.format(
            p=rng.choice(PRODUCTS),
            n=rng.randrange(1000, 9999),
            m=rng.randrange(5, 200),
            d=rng.choice(w.DAYS),
            who=rng.choice(w.NAMES),
        ),
        "department": department,
        "urgency": urgency,
    }


def letter_rows(rng: random.Random) -> tuple[list[dict], list[dict]]:
    """500 training and 100 validation rows. About a tenth of the training rows lack the urgency, as in real data."""
    rows = distinct(letter, 600, "text", rng)
    return [{**row, "urgency": "" if rng.random() < 0.1 else row["urgency"]} for row in rows[100:]], rows[:100]


# ---- extract.json: orders in sentences, to be converted to JSON --------------------------------------------

INSTRUCTION = "Turn the order into JSON with customer, item, quantity, price and day."
ORDERS = [
    "{customer} ordered {quantity} {item} for {price} euros on {day}.",
    "On {day} {customer} bought {quantity} {item} and paid {price} euros.",
    "{quantity} {item} at {price} euros go to {customer} on {day}.",
    "Please bring {quantity} {item} to {customer} on {day}. The price is {price} euros.",
    "{customer} would like {quantity} {item} by {day} and pays {price} euros.",
]
GOODS = [
    "lamps",
    "books",
    "chairs",
    "tables",
    "shirts",
    "coats",
    "hats",
    "phones",
    "clocks",
    "cameras",
    "baskets",
    "bottles",
    "cups",
    "plates",
    "knives",
    "spoons",
    "pencils",
    "candles",
    "mirrors",
    "pillows",
    "towels",
]


def order(rng: random.Random) -> dict:
    facts = {
        "customer": f"{rng.choice(w.NAMES)} {rng.choice(w.SURNAMES)}",
        "item": rng.choice(GOODS),
        "quantity": rng.randrange(2, 30),
        "price": rng.randrange(5, 400),
        "day": rng.choice(w.DAYS),
    }
    return {"instruction": INSTRUCTION, "input": rng.choice(ORDERS).format(**facts), "output": json.dumps(facts)}


# ---- preferences.jsonl: an answer that ends with a kind sentence is preferred to one with an unkind sentence

# Chosen so that the starter, before fine-tuning, finds the kind and the unkind sentences about equally likely after an
# answer (log-probabilities of -44 to -67 and -47 to -62 nats): its preference accuracy is about one half, and anything
# above that is due to training on the pairs.
KIND = ["Good question!", "I am glad to help you!", "I like your question.", "Please ask me more.", "Happy to help."]
UNKIND = ["Go away.", "That was easy.", "You should know that.", "I do not like you.", "I am tired of this."]


def preference(rng: random.Random) -> dict:
    task = closed(rng, skill=rng.choice(CAPTAIN_SKILLS))
    return {
        "prompt": task.question,
        "chosen": f"{task.answer} {rng.choice(KIND)}",
        "rejected": f"{task.answer} {rng.choice(UNKIND)}",
    }


# ---- notes.txt: the log of a lighthouse keeper -------------------------------------------------------------

WINDS = ["north", "north-west", "west", "south-west", "south", "south-east", "east", "north-east"]
SEAS = [
    "calm as glass",
    "slight swell",
    "choppy",
    "rough",
    "very rough, spray over the gallery",
    "heavy rollers on the reef",
]
WORKS = [
    "Trimmed the wick and polished the great lens.",
    "Wound the clockwork twice, it runs slow again.",
    "Carried forty litres of oil up the stairs.",
    "Painted the railing of the gallery, second coat.",
    "Greased the bearings, the lamp turns without a sound now.",
    "Mended the rope of the boat winch.",
    "Scraped salt from the window panes until noon.",
    "Counted the stores: flour for nine days, oil for thirty.",
]
SIGHTS = [
    "Brig {s} passed at {h}, bound {w}.",
    "Schooner {s} signalled for water at {h}.",
    "Two fishing boats took shelter in the lee at {h}.",
    "No sail in sight since dawn.",
    "Steamer {s} answered my lamp at {h}.",
    "A seal slept on the landing stage until {h}.",
    "Fog bell rung from {h}, every two minutes.",
    "Wreckage on the north rocks, a hatch marked {s}.",
]
SHIPS = [
    "Aurora",
    "Petrel",
    "Good Hope",
    "Marigold",
    "Northern Star",
    "Three Sisters",
    "Albatross",
    "Swift",
    "Margaret",
    "Endeavour",
]
ENDS = [
    "Light burning clear at dusk.",
    "Lit the lamp early. All well.",
    "Log closed. Supper was soup again.",
    "All well on the rock.",
    "Slept little, the tower hums in such a wind.",
    "Relief boat expected, if the sea allows.",
]


def note(rng: random.Random) -> dict:
    wind, other = rng.choice(WINDS), rng.choice(WINDS)
    text = " ".join(
        [
            (
                f"Day {rng.randrange(1, 365)}. Wind {wind}, force {rng.randrange(1, 11)}, "
                f"glass at {rng.randrange(960, 1040)}. Sea {rng.choice(SEAS)}."
            ),
            rng.choice(WORKS),
            rng.choice(SIGHTS).format(s=rng.choice(SHIPS), h=f"{rng.choice(w.NUMBERS[2:9])} bells", w=other),
            rng.choice(ENDS),
        ]
    )
    return {"text": text}


# ---- files -------------------------------------------------------------------------------------------------


def jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(rows: list[dict]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def array(rows: list[dict]) -> str:
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def paragraphs(rows: list[dict]) -> str:
    return "\n\n".join(row["text"] for row in rows) + "\n"


def files() -> Iterator[tuple[str, str]]:
    """Yield (file name, contents) of every file; each dataset has its own seed, so that it can change independently."""
    train, validation = captain_rows(random.Random(SEED))
    yield "captain.jsonl", jsonl(train)
    yield "captain.validation.jsonl", jsonl(validation)
    train, validation = letter_rows(random.Random(SEED + 10))
    yield "letters.csv", table(train)
    yield "letters.validation.csv", table(validation)
    for i, (name, suffix, make, key, count, held, write) in enumerate(
        [
            ("tickets", "csv", ticket, "text", 400, 90, table),
            ("extract", "json", order, "input", 400, 80, array),
            ("preferences", "jsonl", preference, "prompt", 300, 60, jsonl),
            ("notes", "txt", note, "text", 320, 60, paragraphs),
        ]
    ):
        rows = distinct(make, count + held, key, random.Random(SEED + 1 + i))
        yield f"{name}.{suffix}", write(rows[held:])
        yield f"{name}.validation.{suffix}", write(rows[:held])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the sample datasets.")
    parser.add_argument("folder", type=Path, nargs="?", default=HERE)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files():
        (folder / name).write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
