"""The closed skills of the starter: each generates questions that have exactly one right answer.

A skill takes a random generator and returns a `Task`. Its `key` is the unit of the train/validation split: where the
answer can be worked out (7 + 5, sorting, copying) the key is the combination, whatever the phrasing; where it must
be known (the capital of Peru) the key is fact and phrasing together. Knows nothing about dialogues, system prompts,
tokenizers or models.
"""

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import words as w


@dataclass(frozen=True)
class Task:
    question: str
    answer: str  # the full sentence
    short: str  # the bare answer, for "answer with one word"
    key: str


def a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def cap(text: str) -> str:
    return text[:1].upper() + text[1:]


def listing(items) -> str:
    items = list(items)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


# ---- what must be known: a table of facts, several ways to ask, one way to answer ------------------------------------


def fact(table: dict, questions: list[str], answer: str, rng: random.Random, article: bool = False) -> Task:
    """One row of `table` asked in one of the ways of `questions`; `{x}` is the left word, `{y}` the right one."""
    x, y = rng.choice(list(table.items()))
    question = cap(rng.choice(questions).format(x=a(x) if article else x, y=y))
    return Task(
        question, cap(answer.format(x=a(x) if article else x, y=y)), x if answer.endswith("{x}.") else y, question
    )


FACTS: dict[str, Callable[[random.Random], Task]] = {
    "opposite": partial(
        fact,
        w.OPPOSITES,
        [
            "What is the opposite of {x}?",
            "Tell me the opposite of {x}.",
            "Which word is the opposite of {x}?",
            "Opposite of {x}?",
            "Name the opposite of the word {x}.",
            "I need the opposite of {x}.",
            "Give me the antonym of {x}.",
            "What is the contrary of {x}?",
        ],
        "The opposite of {x} is {y}.",
    ),
    "colour": partial(
        fact,
        w.COLOURS,
        [
            "What colour is {x}?",
            "Which colour does {x} have?",
            "Tell me the colour of {x}.",
            "What is the colour of {x}?",
            "Do you know what colour {x} is?",
            "Name the colour of {x}.",
        ],
        "The colour of {x} is {y}.",
    ),
    "capital": partial(
        fact,
        w.CAPITALS,
        [
            "What is the capital of {x}?",
            "Which city is the capital of {x}?",
            "Name the capital of {x}.",
            "Capital of {x}?",
            "Tell me the capital city of {x}.",
            "Do you know the capital of {x}?",
        ],
        "The capital of {x} is {y}.",
    ),
    "country": partial(
        fact,
        w.CAPITALS,
        [
            "{y} is the capital of which country?",
            "In which country is {y}?",
            "Where is {y}?",
            "Which country does {y} belong to?",
            "What country is {y} in?",
        ],
        "{y} is the capital of {x}.",
    ),
    "young": partial(
        fact,
        w.YOUNG,
        [
            "What is a young {x} called?",
            "What do you call a baby {x}?",
            "What is the name for a young {x}?",
            "Tell me the word for a baby {x}.",
            "How do you call the young of a {x}?",
        ],
        "A young {x} is called a {y}.",
    ),
    "sound": partial(
        fact,
        w.SOUNDS,
        [
            "What does {x} do?",
            "Which sound does {x} make?",
            "How does {x} sound?",
            "What noise does {x} make?",
            "Tell me what sound {x} makes.",
        ],
        "{x} {y}.",
        article=True,
    ),
    "home": partial(
        fact,
        w.HOMES,
        [
            "Where does {x} live?",
            "What is the home of {x}?",
            "Where can I find {x}?",
            "Tell me where {x} lives.",
            "In what place does {x} live?",
        ],
        "The home of {x} is the {y}.",
        article=True,
    ),
    "legs": partial(
        fact,
        w.LEGS,
        [
            "How many legs does {x} have?",
            "Count the legs of {x}.",
            "Tell me how many legs {x} has.",
            "What number of legs does {x} have?",
            "Do you know how many legs {x} has?",
        ],
        "{x} has {y} legs.",
        article=True,
    ),
    "job": partial(
        fact,
        w.JOBS,
        [
            "What does {x} do?",
            "What is the job of {x}?",
            "Tell me what {x} does.",
            "What is the work of {x}?",
            "Can you tell me what {x} does?",
        ],
        "{x} {y}.",
        article=True,
    ),
    "use": partial(
        fact,
        w.USES,
        [
            "What is {x} for?",
            "What can I do with {x}?",
            "Why do people have {x}?",
            "What do you use {x} for?",
            "Tell me what {x} is good for.",
        ],
        "You use {x} to {y}.",
        article=True,
    ),
    "plural": partial(
        fact,
        w.PLURALS,
        [
            "What is the plural of {x}?",
            "One {x}, two what?",
            "Tell me the plural of {x}.",
            "Give me the plural of the word {x}.",
            "Plural of {x}?",
            "How do you write more than one {x}?",
        ],
        "The plural of {x} is {y}.",
    ),
    "past": partial(
        fact,
        w.PAST,
        [
            "What is the past tense of {x}?",
            "Tell me the past tense of {x}.",
            "Past tense of {x}?",
            "Give me the past form of {x}.",
            "Today I {x}. Which word do I use for yesterday?",
            "Name the past tense of the verb {x}.",
        ],
        "The past tense of {x} is {y}.",
    ),
    "spell": partial(
        fact,
        dict(enumerate(w.NUMBERS)),
        [
            "Write {x} as a word.",
            "How do you write the number {x} in words?",
            "Which word stands for {x}?",
            "Spell the number {x}.",
        ],
        "The number {x} is written {y}.",
    ),
    "kind": partial(
        fact,
        {x: k for k, xs in w.KINDS.items() if k not in ("colour", "metal", "drink") for x in xs},
        [
            "What is {x}?",
            "What kind of thing is {x}?",
            "Do you know what {x} is?",
            "Explain what {x} is.",
            "What sort of thing is {x}?",
        ],
        "{x} is a kind of {y}.",
        article=True,
    ),
}


def cycle(names: list[str], thing: str, rng: random.Random) -> Task:
    """Days and months: what comes after, before, or two after."""
    i = rng.randrange(len(names))
    step, word, answer = rng.choice(
        [(1, "after", "comes after"), (-1, "before", "comes before"), (2, "two after", "comes two {t}s after")]
    )
    y = names[(i + step) % len(names)]
    if step == 2:
        questions = [
            "Which {t} comes two {t}s after {x}?",
            "What {t} is two {t}s after {x}?",
            "Tell me the {t} two {t}s after {x}.",
            "Name the {t} that is two {t}s later than {x}.",
        ]
    else:
        questions = [
            "Which {t} comes {w} {x}?",
            "What {t} is {w} {x}?",
            "Tell me the {t} {w} {x}.",
            "What comes {w} {x}?",
            "Name the {t} {w} {x}.",
            "Which {t} is right {w} {x}?",
        ]
    question = rng.choice(questions).format(t=thing, w=word, x=names[i])
    return Task(question, f"{y} {answer.format(t=thing)} {names[i]}.", y, question)


def month_number(rng: random.Random) -> Task:
    i = rng.randrange(12)
    question = rng.choice(
        [
            "Which month is the {o} month of the year?",
            "What is the {o} month?",
            "Name the {o} month of the year.",
            "Tell me the {o} month.",
        ]
    ).format(o=w.ORDINALS[i])
    return Task(question, f"The {w.ORDINALS[i]} month of the year is {w.MONTHS[i]}.", w.MONTHS[i], question)


# ---- what can be worked out: validation combinations are in no training phrasing -------------------------------------


def add(rng: random.Random) -> Task:
    x, y = rng.randrange(100), rng.randrange(11)
    if rng.random() < 0.5:
        x, y = y, x
    question = rng.choice(
        [
            "What is {x} plus {y}?",
            "How much is {x} + {y}?",
            "Add {x} and {y}.",
            "{x} + {y} = ?",
            "What do you get if you add {y} to {x}?",
            "Calculate {x} + {y}.",
        ]
    ).format(x=x, y=y)
    return Task(question, f"{x} plus {y} is {x + y}.", str(x + y), f"{x}+{y}")


def subtract(rng: random.Random) -> Task:
    y = rng.randrange(11)
    x = rng.randrange(y, 100)
    question = rng.choice(
        [
            "What is {x} minus {y}?",
            "How much is {x} - {y}?",
            "Take {y} away from {x}.",
            "{x} - {y} = ?",
            "Subtract {y} from {x}.",
            "Calculate {x} - {y}.",
        ]
    ).format(x=x, y=y)
    return Task(question, f"{x} minus {y} is {x - y}.", str(x - y), f"{x}-{y}")


def compare(rng: random.Random) -> Task:
    x, y = rng.sample(range(100), 2)
    word, pick = rng.choice([("bigger", max), ("smaller", min)])
    question = rng.choice(
        [
            "Which number is {w}, {x} or {y}?",
            "Which is {w}: {x} or {y}?",
            "Is {x} or {y} {w}?",
            "Tell me which is {w}, {x} or {y}.",
        ]
    )
    z = pick(x, y)
    return Task(question.format(w=word, x=x, y=y), f"{z} is {word} than {x + y - z}.", str(z), f"{word} {x} {y}")


def neighbour(rng: random.Random) -> Task:
    x = rng.randrange(1, 199)
    word, z = rng.choice([("after", x + 1), ("before", x - 1)])
    question = rng.choice(
        ["What number comes {w} {x}?", "Which number is right {w} {x}?", "Tell me the number {w} {x}."]
    ).format(w=word, x=x)
    return Task(question, f"The number {word} {x} is {z}.", str(z), f"{word} {x}")


def count_up(rng: random.Random) -> Task:
    x, n, down = rng.randrange(1, 60), rng.randrange(3, 8), rng.random() < 0.5
    numbers = list(range(x, x + n))
    word = "down" if down else "up"
    if down:
        numbers.reverse()
    question = rng.choice(
        [
            "Count from {p} to {q}.",
            "Count {w} from {p} to {q}.",
            "Please count from {p} to {q}.",
            "Write the numbers from {p} to {q}.",
        ]
    ).format(w=word, p=numbers[0], q=numbers[-1])
    answer = ", ".join(map(str, numbers))
    return Task(question, answer + ".", answer, f"{numbers[0]}..{numbers[-1]}")


def some_words(rng: random.Random, low: int, high: int) -> list[str]:
    kind = rng.choice(list(w.KINDS))
    pool = w.KINDS[kind] if rng.random() < 0.5 else [x for xs in w.KINDS.values() for x in xs] + w.OBJECTS
    return rng.sample(pool, min(rng.randrange(low, high + 1), len(pool)))


def how_many(rng: random.Random) -> Task:
    items = some_words(rng, 1, 7)
    question = rng.choice(
        ["How many words are in this list: {l}?", "Count the words: {l}.", "How many things do I name here: {l}?"]
    )
    n = w.NUMBERS[len(items)]
    verb = "is one word" if len(items) == 1 else f"are {n} words"
    return Task(question.format(l=", ".join(items)), f"There {verb} in the list.", n, "count " + " ".join(items))


def sort_numbers(rng: random.Random) -> Task:
    items = (
        rng.sample(range(10), rng.randrange(3, 7))
        if rng.random() < 0.6
        else rng.sample(range(100), rng.randrange(2, 5))
    )
    question = rng.choice(
        [
            "Sort these numbers: {l}.",
            "Put these numbers in order: {l}.",
            "Order the numbers {l} from small to big.",
            "Sort {l}.",
        ]
    ).format(l=", ".join(map(str, items)))
    answer = ", ".join(map(str, sorted(items)))
    return Task(question, f"Sorted: {answer}.", answer, "sort " + " ".join(map(str, items)))


def sort_words(rng: random.Random) -> Task:
    items = rng.sample(w.KINDS["animal"] + w.KINDS["fruit"], rng.randrange(2, 4))
    question = rng.choice(
        [
            "Sort these words by the alphabet: {l}.",
            "Put these words in alphabetical order: {l}.",
            "Sort {l} from A to Z.",
        ]
    )
    answer = ", ".join(sorted(items))
    return Task(question.format(l=", ".join(items)), f"Sorted: {answer}.", answer, "abc " + " ".join(items))


def pick_word(rng: random.Random) -> Task:
    items = some_words(rng, 3, 6)
    i = rng.choice([0, 1, 2, -1])
    place = "last" if i == -1 else w.ORDINALS[i]
    question = rng.choice(
        ["What is the {p} word of this list: {l}?", "Tell me the {p} word: {l}.", "Which word is {p} in {l}?"]
    )
    return Task(
        question.format(p=place, l=", ".join(items)),
        f"The {place} word is {items[i]}.",
        items[i],
        f"{place} " + " ".join(items),
    )


def backwards(rng: random.Random) -> Task:
    items = some_words(rng, 2, 5)
    question = rng.choice(
        ["Reverse this list: {l}.", "Write these words backwards: {l}.", "Say {l} in reverse order."]
    ).format(l=", ".join(items))
    answer = ", ".join(reversed(items))
    return Task(question, f"Reversed: {answer}.", answer, "reverse " + " ".join(items))


def odd_one(rng: random.Random) -> Task:
    one, other = rng.sample(list(w.KINDS), 2)
    items = rng.sample(w.KINDS[one], 3)
    stranger = rng.choice(w.KINDS[other])
    items.insert(rng.randrange(4), stranger)
    question = rng.choice(
        ["Which word does not belong: {l}?", "Find the odd one out: {l}.", "Which of these is different: {l}?"]
    ).format(l=", ".join(items))
    return Task(
        question,
        f"{cap(stranger)} does not belong, because it is not {a(one)}.",
        stranger,
        "odd " + " ".join(sorted(items)),
    )


def invented(rng: random.Random) -> str:
    return "".join(rng.sample(w.SYLLABLES, rng.randrange(1, 4)))


def sentence(rng: random.Random) -> str:
    kind = rng.choice(["animal", "tool", "garment", "vehicle", "fruit"])
    return rng.choice(
        [
            "The {adj} {x} is in the {p}.",
            "{n} has {m} {x2} in the {p}.",
            "{n} and {n2} went to the {p}.",
            "The {x} of {n} is {adj}.",
            "I saw a {adj} {x} near the {p}.",
            "My {x} is very {adj} today.",
        ]
    ).format(
        adj=rng.choice(w.ADJECTIVES),
        x=rng.choice(w.KINDS[kind]),
        p=rng.choice(w.PLACES),
        n=rng.choice(w.NAMES),
        n2=rng.choice(w.NAMES),
        m=rng.choice(w.NUMBERS[2:]),
        x2=rng.choice(["lamps", "books", "chairs", "apples", "keys", "boxes", "coats", "birds"]),
    )


def some_text(rng: random.Random) -> str:
    """Things to copy: sentences, lists, names and invented words, so that copying generalises."""
    return rng.choice(
        [
            lambda: sentence(rng),
            lambda: " ".join(some_words(rng, 1, 5)),
            lambda: f"{rng.choice(w.NAMES)} {rng.choice(w.SURNAMES)}",
            lambda: " ".join(invented(rng) for _ in range(rng.randrange(1, 5))),
            lambda: "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(rng.randrange(2, 7))),
            lambda: f"{cap(invented(rng))} {rng.randrange(1, 2000)}",
            lambda: with_apostrophe(rng),
            lambda: odd_characters(rng),
        ]
    )()


def with_apostrophe(rng: random.Random) -> str:
    return rng.choice(
        [
            "It's {n}'s {x}.",
            "I don't have a {x}.",
            "{n} can't find the {x}.",
            "We'll meet at {h} o'clock.",
            "That isn't my {x}, it's {n}'s.",
            "'{x}'",
            "I'm {n} and I've lost my {x}.",
            "You're late, aren't you?",
            "{n}'s {x} wasn't here.",
        ]
    ).format(n=rng.choice(w.NAMES), x=rng.choice(w.OBJECTS), h=rng.choice(w.NUMBERS[1:13]))


def odd_characters(rng: random.Random) -> str:
    """Signs, accents and Chinese: a byte that never occurs in training could not be fine-tuned later, because its
    embedding would be noise.
    """
    return rng.choice(
        [
            lambda: "".join(rng.choice(string.printable[:94]) for _ in range(rng.randrange(2, 8))),
            lambda: " ".join(rng.choice(string.punctuation) for _ in range(rng.randrange(2, 6))),
            lambda: "".join(rng.choice("äöüßéèêáàâóòôíìîúùûñçåøæœÄÖÜÉ€£–—„“”’…") for _ in range(rng.randrange(1, 5))),
            lambda: "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(rng.randrange(1, 4))),
        ]
    )()


def copy(rng: random.Random) -> Task:
    text = some_text(rng)
    question = rng.choice(
        [
            "Repeat: {t}",
            "Say this again: {t}",
            "Copy this text: {t}",
            "Write exactly this: {t}",
            'Repeat after me: "{t}"',
        ]
    ).format(t=text)
    return Task(question, text, text, "copy " + text)


def letters(rng: random.Random) -> Task:
    text = sentence(rng) if rng.random() < 0.3 else " ".join(some_words(rng, 1, 4))
    if rng.random() < 0.65:
        question = rng.choice(
            ["Write in capital letters: {t}", "Make this upper case: {t}", 'Write "{t}" in capitals.']
        )
        return Task(question.format(t=text), text.upper(), text.upper(), "upper " + text)
    question = rng.choice(["Write in small letters: {t}", "Make this lower case: {t}"]).format(t=text.upper())
    return Task(question, text.lower(), text.lower(), "lower " + text)


def replace(rng: random.Random) -> Task:
    items = rng.sample(w.KINDS["animal"] + w.OBJECTS, 2)
    text = rng.choice(
        ["The {x} is in the {p}.", "I can see a {adj} {x}.", "{n} has a {adj} {x}.", "Where is the {x} of {n}?"]
    ).format(x=items[0], p=rng.choice(w.PLACES), adj=rng.choice(w.ADJECTIVES), n=rng.choice(w.NAMES))
    question = rng.choice(
        ["Replace {x} with {y}: {t}", 'Put "{y}" in the place of "{x}": {t}', "Change {x} to {y} in this sentence: {t}"]
    )
    answer = text.replace(items[0], items[1])
    return Task(question.format(x=items[0], y=items[1], t=text), answer, answer, f"replace {items[1]} {text}")


def rewrite(rng: random.Random) -> Task:
    """Negate a sentence, or put it into the past."""
    x, adj, name = rng.choice(w.KINDS["animal"] + w.OBJECTS), rng.choice(w.ADJECTIVES), rng.choice(w.NAMES)
    if rng.random() < 0.5:
        text, answer = f"The {x} of {name} is {adj}.", f"The {x} of {name} is not {adj}."
        question = rng.choice(
            ["Make this sentence negative: {t}", "Say the contrary with not: {t}", "Negate this: {t}"]
        )
    else:
        verb, tail = rng.choice(list(w.PAST)), f"with {name} in the {rng.choice(w.PLACES)}"
        text, answer = f"I {verb} {tail}.", f"I {w.PAST[verb]} {tail}."
        question = rng.choice(
            ["Put this into the past: {t}", "Write this as if it were yesterday: {t}", "Past tense please: {t}"]
        )
    return Task(question.format(t=text), answer, answer, "rewrite " + text)


def topic(rng: random.Random) -> Task:
    name = rng.choice(list(w.TOPICS))
    subjects, verbs = w.TOPICS[name]
    text = f"{rng.choice(subjects)} {rng.choice(verbs)}."
    question = rng.choice(
        [
            "What is this sentence about? {t}",
            "Name the topic: {t}",
            'Which topic fits "{t}"?',
            "Sport, food, weather, music, travel, school, money or health? {t}",
        ]
    ).format(t=text)
    return Task(question, f"The topic is {name}.", name, text)


def sentiment(rng: random.Random) -> Task:
    word, adjectives = rng.choice([("positive", w.PRAISE), ("negative", w.BLAME)])
    x, adj, adj2 = rng.choice(w.REVIEWED), *rng.sample(adjectives, 2)
    text = rng.choice(
        [
            "The {x} was {a}.",
            "What a {a} {x}!",
            "I think the {x} is {a} and {b}.",
            "This {x} is really {a}.",
            "We had a {a} and {b} {x}.",
        ]
    ).format(x=x, a=adj, b=adj2)
    question = rng.choice(
        ["Is this review positive or negative? {t}", "What is the mood of this review? {t}", "Good or bad review? {t}"]
    ).format(t=text)
    return Task(question, f"The review is {word}.", word, text)


def helpdesk(rng: random.Random) -> Task:
    name = rng.choice(list(w.HELPDESK))
    text = (
        rng.choice(["", "Hello, ", "Hi, ", "Good morning, ", "Please help: ", "Sorry, but "])
        + rng.choice(w.HELPDESK[name])
        + rng.choice([".", ", please.", " since {d}.", ". Thank you."]).format(d=rng.choice(w.DAYS))
    )
    question = rng.choice(
        ["Which team should read this message? {t}", "Sort this customer message: {t}", "Who should answer this? {t}"]
    ).format(t=text)
    return Task(question, f"The {name} team should answer this message.", name, text)


def extract(rng: random.Random) -> Task:
    """A sentence in, the wanted facts out as one line of JSON, in the order in which they were asked for."""
    f = {
        "name": rng.choice(w.NAMES),
        "age": rng.randrange(18, 90),
        "city": rng.choice(w.CITIES),
        "job": rng.choice(list(w.JOBS)),
        "count": rng.randrange(2, 20),
        "item": rng.choice(w.OBJECTS),
        "day": rng.choice(w.DAYS),
        "colour": rng.choice(w.KINDS["colour"]),
        "month": rng.choice(w.MONTHS),
        "friend": rng.choice(w.NAMES),
        "surname": rng.choice(w.SURNAMES),
        "price": rng.randrange(1, 400),
    }
    text, fields = rng.choice(
        [
            ("{name} is {age} years old and lives in {city}.", "name age city"),
            ("{name} {surname} is a {job} from {city}.", "name surname job city"),
            ("{name} bought a {colour} {item} for {price} euros on {day}.", "name colour item price day"),
            ("In {month} {name} will visit {friend} in {city}.", "month name friend city"),
            ("{name}, {age}, works as a {job}.", "name age job"),
            ("On {day} the {job} {name} sold {count} pieces of {item}.", "day job name count item"),
            ("A {item} costs {price} euros in {city}.", "item price city"),
            ("{friend} gave {name} a {colour} {item} in {month}.", "friend name colour item month"),
        ]
    )
    fields = fields.split()
    wanted = rng.sample(fields, rng.randrange(1, len(fields) + 1)) if rng.random() < 0.5 else fields
    text = text.format(**f)
    question = rng.choice(
        ["Extract {k} as JSON: {t}", "Give me {k} as JSON. {t}", "Write {k} of this sentence as JSON: {t}"]
    )
    answer = json.dumps({k: f[k] for k in wanted})
    return Task(question.format(k=listing(wanted), t=text), answer, answer, "extract " + text)


SKILLS: dict[str, Callable[[random.Random], Task]] = FACTS | {
    "day": partial(cycle, w.DAYS, "day"),
    "month": partial(cycle, w.MONTHS, "month"),
    "month_number": month_number,
    "add": add,
    "subtract": subtract,
    "compare": compare,
    "neighbour": neighbour,
    "count_up": count_up,
    "how_many": how_many,
    "sort_numbers": sort_numbers,
    "sort_words": sort_words,
    "pick_word": pick_word,
    "backwards": backwards,
    "odd_one": odd_one,
    "copy": copy,
    "letters": letters,
    "replace": replace,
    "rewrite": rewrite,
    "topic": topic,
    "sentiment": sentiment,
    "helpdesk": helpdesk,
    "extract": extract,
}
WEIGHTS = {
    "add": 4,
    "subtract": 4,
    "copy": 4,
    "extract": 4,
    "opposite": 3,
    "letters": 3,
    "sort_numbers": 3,
    "capital": 2,
    "past": 2,
    "plural": 2,
    "colour": 2,
    "compare": 2,
    "count_up": 2,
    "sort_words": 2,
    "backwards": 2,
    "how_many": 2,
    "pick_word": 2,
    "replace": 2,
    "rewrite": 2,
    "day": 1.5,
    "month": 1.5,
    "month_number": 0.5,
    "spell": 0.5,
}
# Facts are learned early; what has to be worked out gets most of the later time.
LATE_WEIGHTS = {name: 0.4 for name in FACTS} | {
    "opposite": 2,
    "capital": 1,
    "past": 1,
    "plural": 1,
    "add": 6,
    "subtract": 6,
    "copy": 7,
    "extract": 4,
    "letters": 5,
    "backwards": 2,
    "odd_one": 4,
    "count_up": 4,
    "sort_numbers": 3,
    "sort_words": 3,
    "pick_word": 2,
    "compare": 2,
    "month": 2,
    "month_number": 0.5,
    "spell": 0.5,
    "neighbour": 2,
}
