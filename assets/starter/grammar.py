"""Generate the training conversations and texts of the starter, from a seed, without end.

Wraps the questions of `skills.py` into dialogues: alone, under a system prompt that changes how to answer, several
in a row; adds small talk, stories and plain texts. Keeps validation questions out of all training data. Knows
nothing about tokenizers or models.
"""

import random
import zlib
from collections.abc import Iterator

import words as w
from skills import LATE_WEIGHTS, SKILLS, WEIGHTS, Task, a, cap

Message = dict[str, str]
VALIDATION_SHARE = 12  # one in so many keys is never trained


def is_validation_task(skill: str, task: Task) -> bool:
    return zlib.crc32(f"{skill}|{task.key}".encode()) % VALIDATION_SHARE == 0


def closed(rng: random.Random, validation: bool = False, skill: str | None = None) -> Task:
    """A question with exactly one right answer, from the training or the validation questions."""
    weights = LATE_WEIGHTS if getattr(rng, "late", False) else WEIGHTS
    while True:
        name = skill or rng.choices(list(SKILLS), [weights.get(name, 1) for name in SKILLS])[0]
        task = SKILLS[name](rng)
        if is_validation_task(name, task) == validation:
            return task


def chat(*turns: str, system: str | None = None) -> list[Message]:
    """Messages from texts that alternate between user and assistant."""
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


def careless(text: str, rng: random.Random) -> str:
    """As people type: no capital at the start, no mark at the end."""
    first = text.split()[0]
    if first in ("What", "Which", "Tell", "How", "Name", "Who", "Where", "Do", "Give", "Is", "Tell"):
        text = text[0].lower() + text[1:]
    return text[:-1] if text[-1] in "?." and rng.random() < 0.6 else text


# ---- open talk: answers that need not be the only right ones ---------------------------------------------------------

ABOUT = "I am Starter, a very small language model."
TALK: list[tuple[list[str], list[str]]] = [
    (
        ["Hello!", "Hi!", "Hello", "Hi there", "Good morning!", "Hey", "Good evening."],
        ["Hello! How can I help you?", "Hi! What can I do for you?", "Hello! What would you like to know?"],
    ),
    (
        ["How are you?", "How are you today?", "How do you do?"],
        ["I am fine, thank you. How are you?", "Very well, thank you. What can I do for you?"],
    ),
    (
        [
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Are you a human?",
            "Introduce yourself.",
            "Tell me about yourself.",
            "Are you a robot?",
        ],
        [ABOUT, f"{ABOUT} I can answer easy questions.", f"{ABOUT} You can teach me new things."],
    ),
    (
        ["What can you do?", "Help", "How can you help me?", "What do you know?", "What can I ask you?"],
        [
            "I can calculate, sort words, name colours, opposites and capitals, and tell short stories.",
            "I can answer easy questions, copy and change short texts, and tell stories.",
        ],
    ),
    (
        ["Who made you?", "Where do you come from?", "How were you made?", "How did you learn to speak?"],
        [
            "I was trained in half an hour on a computer with two cores.",
            "I learned from sentences that a small program wrote.",
        ],
    ),
    (
        ["How big are you?", "How many parameters do you have?"],
        ["I have about four million parameters. That is very small."],
    ),
    (
        ["Thank you!", "Thanks!", "Thanks a lot.", "Thank you very much."],
        ["You are welcome!", "You are welcome. Do you have another question?"],
    ),
    (["Goodbye!", "Bye!", "See you later.", "Good night."], ["Goodbye! Have a nice day.", "See you soon!"]),
    (
        ["Can you learn?", "Can I teach you something?", "How can I teach you?"],
        ["Yes. Give me some examples and train me for a minute.", "Yes, I learn quickly from a few hundred examples."],
    ),
    (
        ["Tell me a joke.", "Say something funny."],
        ["Why did the computer go to the doctor? It had a virus.", "What has keys but opens no door? A piano."],
    ),
    (
        ["I am sad.", "I feel bad today.", "I had a bad day."],
        ["I am sorry to hear that. Do you want to talk about it?", "I am sorry. I hope tomorrow is a better day."],
    ),
    (
        ["I am happy!", "I had a great day.", "I feel good today."],
        ["That is good to hear!", "How nice! I am glad for you."],
    ),
    (
        [
            "What is the meaning of life?",
            "Will it rain tomorrow?",
            "Who will win the election?",
            "Write a program for me.",
            "What is quantum physics?",
        ],
        ["I am sorry, I am too small to know that.", "That is too difficult for me. Ask me something easier."],
    ),
    (
        ["Do you like music?", "Do you like dogs?", "Do you like chocolate?", "What is your favourite colour?"],
        ["I am a program, so I do not have a taste of my own.", "I am only a small program, but it sounds nice."],
    ),
]


def talk(rng: random.Random) -> list[Message]:
    questions, answers = rng.choice(TALK)
    return chat(rng.choice(questions), rng.choice(answers))


def my_name(rng: random.Random) -> list[Message]:
    name, job, city = rng.choice(w.NAMES), rng.choice(list(w.JOBS)), rng.choice(w.CITIES)
    turns = [
        rng.choice(["My name is {n}.", "I am {n}.", "Hello, I am {n}.", "Hi, my name is {n}."]).format(n=name),
        f"Nice to meet you, {name}!",
    ]
    if rng.random() < 0.5:
        turns += [f"I am {a(job)}.", f"How interesting! {cap(a(job))} {w.JOBS[job]}."]
    if rng.random() < 0.5:
        turns += [f"I live in {city}.", f"I would like to see {city}."]
    if rng.random() < 0.3:
        task = closed(rng)
        turns += [task.question, task.answer]
    turns += [rng.choice(["What is my name?", "Do you know my name?", "Who am I?"]), f"Your name is {name}."]
    return chat(*turns)


def complaint(rng: random.Random) -> list[Message]:
    """A customer's message without a question: an answer a clerk would give."""
    name = rng.choice(list(w.HELPDESK))
    answer = rng.choice(
        [
            "I am sorry to hear that. I will tell the {t} team.",
            "Thank you for your message. The {t} team will help you.",
        ]
    )
    return chat(rng.choice(w.HELPDESK[name]) + rng.choice([".", ", please.", " today."]), answer.format(t=name))


def story(rng: random.Random) -> tuple[str, str]:
    """(the animal it is about, a short story of four to six sentences)"""
    x, adj, name, place = (
        rng.choice(w.KINDS["animal"]),
        rng.choice(w.ADJECTIVES),
        rng.choice(w.NAMES),
        rng.choice(w.PLACES),
    )
    lost, friend, place2 = rng.choice(w.OBJECTS), rng.choice(w.KINDS["animal"]), rng.choice(w.PLACES)
    fruit, day = rng.choice(w.KINDS["fruit"]), rng.choice(w.DAYS)
    begin = rng.choice(
        [
            f"Once upon a time there was {a(adj)} {x} called {name}.",
            f"{name} was {a(adj)} {x} who lived near the {place}.",
            f"In a {place} far away lived {a(adj)} {x}. Its name was {name}.",
        ]
    )
    middle = rng.choice(
        [
            f"One day {name} lost a {lost} in the {place2}. {name} looked everywhere, but it was gone.",
            f"On {day} {name} walked to the {place2} and found an old {lost}.",
            f"{name} wanted to eat {a(fruit)}, but the tree was too tall.",
            f"Every night {name} heard a strange noise from the {place2}.",
        ]
    )
    turn = rng.choice(
        [
            f"Then {a(friend)} came by and offered to help.",
            f"A clever {friend} had a good idea.",
            f'"Do not worry," said the {friend}, "I will help you."',
            f"A friendly {friend} came along, and they talked for a long time.",
        ]
    )
    end = rng.choice(
        [
            f"Together they went home, and {name} was happy again.",
            "From that day on they were the best of friends.",
            f"{name} said thank you and shared {a(fruit)} with the {friend}.",
            "In the evening they sat by the fire and laughed.",
        ]
    )
    return x, " ".join([begin, middle, turn, end])


def tell_story(rng: random.Random) -> list[Message]:
    x, text = story(rng)
    return chat(
        rng.choice(
            ["Tell me a story about {x}.", "Write a short story about {x}.", "Can you tell me a story with {x}?"]
        ).format(x=a(x)),
        text,
    )


def report(rng: random.Random) -> str:
    """Plain text about the world: facts in a row, as in a school book."""
    place, day = rng.choice(w.PLACES), rng.choice(w.DAYS)
    lines = [
        closed(
            rng,
            skill=rng.choice(["opposite", "colour", "capital", "young", "sound", "home", "job", "use", "kind", "legs"]),
        ).answer
        for _ in range(rng.randrange(2, 5))
    ]
    if rng.random() < 0.5:
        people = rng.sample(w.NAMES, 2)
        lines = [
            f"On {day} {people[0]} and {people[1]} went to the {place}.",
            f"The weather was {rng.choice(w.PRAISE + w.BLAME)}.",
            f"They saw {rng.choice(w.NUMBERS[2:])} {rng.choice(w.ADJECTIVES)} "
            f"{rng.choice(list(w.PLURALS.values())[:30])}.",
            f"{rng.choice(people)} bought a {rng.choice(w.ADJECTIVES)} {rng.choice(w.OBJECTS)} for "
            f"{rng.randrange(2, 90)} euros.",
        ]
    return " ".join(lines)


# ---- system prompts: how to answer -----------------------------------------------------------------------------------

PLAIN = [
    "You are a helpful assistant.",
    "You are Starter.",
    "Answer the question.",
    "You are a friendly assistant. Answer in full sentences.",
]


def lower_first(text: str) -> str:
    """Small first letter, unless the first word is a name or already all capitals."""
    first = text.split()[0].strip('.,!?"')
    is_name = (
        first in w.NAMES
        or first in w.CITIES
        or first in w.DAYS
        or first in w.MONTHS
        or first == "I"
        or first.isupper()
        and len(first) > 1
    )
    return text if is_name else text[0].lower() + text[1:]


def style(task: Task, rng: random.Random) -> tuple[str, str]:
    """(system prompt, the answer in the form that it asks for). Some words are made up, so that the rule is learned and
    not the words.
    """
    word = rng.choice(
        [
            "sir",
            "madam",
            "my friend",
            "captain",
            "teacher",
            "boss",
            rng.choice(w.NAMES),
            "ba" + rng.choice(w.SYLLABLES) + rng.choice(w.SYLLABLES),
        ]
    )
    bare = task.answer[:-1] if task.answer.endswith(".") else task.answer
    mark = task.answer[len(bare) :]
    return rng.choice(
        [
            lambda: (
                rng.choice(["Answer in capital letters.", "Shout every answer.", "Write everything in upper case."]),
                task.answer.upper(),
            ),
            lambda: (
                rng.choice(["Be brief.", "Give only the bare answer.", "Answer as short as you can."]),
                task.short,
            ),
            lambda: (
                rng.choice([f"Begin every answer with {word}.", f'Start each answer with "{word}".']),
                f"{cap(word)}, {lower_first(task.answer)}",
            ),
            lambda: (
                rng.choice([f"End every answer with {word}.", f'Say "{word}" at the end.']),
                f"{bare}, {word}{mark}",
            ),
            lambda: (rng.choice(["You are a robot.", "Speak like a robot."]), f"Beep. {task.answer} Beep."),
            lambda: (rng.choice(["Be very polite.", "You are a butler."]), f"{task.answer} Thank you for asking."),
            lambda: (rng.choice(["Put your answer in quotation marks.", "Quote your answers."]), f'"{task.answer}"'),
            lambda: (rng.choice(["You are in a hurry.", "Answer in a rush."]), f"Quick: {lower_first(bare)}!"),
            lambda: (rng.choice(PLAIN), task.answer),
        ]
    )()


def styled(rng: random.Random, validation: bool = False) -> list[Message]:
    task = closed(rng, validation)
    if len(task.answer) > 90:
        return chat(task.question, task.answer, system=rng.choice(PLAIN))
    if rng.random() < 0.08 and not validation:
        name = rng.choice(w.NAMES)
        return chat(rng.choice(["Who are you?", "What is your name?"]), f"I am {name}.", system=f"Your name is {name}.")
    system, answer = style(task, rng)
    return chat(task.question, answer, system=system)


# ---- everything together ---------------------------------------------------------------------------------------------


def several(rng: random.Random) -> list[Message]:
    """A dialogue of independent questions, with a word about the last answer now and then."""
    turns: list[str] = []
    for _ in range(rng.randrange(2, 4)):
        task = closed(rng)
        turns += [task.question, task.answer]
        roll = rng.random()
        if roll < 0.12:
            turns += [rng.choice(["Thank you!", "Thanks!"]), "You are welcome!"]
        elif roll < 0.22:
            turns += [rng.choice(["Say that again.", "Repeat your answer.", "What did you say?"]), task.answer]
        elif roll < 0.32:
            turns += [rng.choice(["Write that in capital letters.", "Now in capitals."]), task.answer.upper()]
        elif roll < 0.4:
            turns += [rng.choice(["Be brief.", "Shorter, please."]), task.short]
    return chat(*turns)


def single(rng: random.Random) -> list[Message]:
    task = closed(rng)
    question = careless(task.question, rng) if rng.random() < 0.15 else task.question
    return chat(question, task.answer, system=rng.choice(PLAIN) if rng.random() < 0.15 else None)


KINDS = {single: 60, styled: 16, several: 9, talk: 4, my_name: 2, complaint: 1, tell_story: 4}


def documents(seed: int, late: bool = False) -> Iterator[list[Message] | str]:
    """Endless training documents: a list of messages, or a plain text (one in twenty). `late` asks less for facts and
    more for work.
    """
    rng = random.Random(seed)
    rng.late = late
    while True:
        if rng.random() < 0.05:
            yield story(rng)[1] if rng.random() < 0.5 else report(rng)
        else:
            yield rng.choices(list(KINDS), list(KINDS.values()))[0](rng)


def validation_set(per_skill: int, seed: int = 7) -> dict[str, list[list[Message]]]:
    """Validation conversations by skill, each ending in its right answer; "system prompts" are the styles over
    validation questions.
    """
    rng = random.Random(seed)
    tests: dict[str, list[list[Message]]] = {}
    for name in SKILLS:
        found: dict[str, list[Message]] = {}
        for _ in range(40 * per_skill * VALIDATION_SHARE):
            task = SKILLS[name](rng)
            if is_validation_task(name, task):
                found.setdefault(task.key, chat(task.question, task.answer))
            if len(found) == per_skill:
                break
        tests[name] = list(found.values())
    tests["system prompts"] = [styled(rng, validation=True) for _ in range(2 * per_skill)]
    return tests
