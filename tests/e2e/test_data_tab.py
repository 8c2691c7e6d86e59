"""The Data tab in a real browser: remedies and their undo, what blocks Start, mixtures, any example as tokens,
templates, large files."""

import json

import pytest

from studio.models.templates import template
from tests.conftest import REPOSITORY, until
from tests.e2e.pages import ready, tab

pytestmark = [pytest.mark.e2e]
FLAGS = REPOSITORY / "tests" / "data_files" / "flags.csv"


def talk(question, answer):
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def page(studio, open_page):
    made = open_page(studio.address)
    ready(made)
    return made


def use(page, path):
    page.fill("#place input, #place textarea", str(path))
    page.click("#use-place")
    page.wait_for_function("name => document.querySelector('#about-data h3')?.innerText === name", arg=path.name)


def says(page, place, *words):
    page.wait_for_function(
        "([place, words]) => words.every(word => document.querySelector(place)?.innerText.includes(word))",
        arg=[place, list(words)],
    )


def draft(studio):
    return studio.store.note("draft")


def test_a_remedy_and_its_undo(studio, page, tmp_path):
    path = write(
        tmp_path / "chats.jsonl",
        [
            *[talk(f"Question number {n}?", f"Answer {n}") for n in range(12)],
            talk("Where?", "Write to jo@example.org"),
            talk("Question number 3?", "Answer 3"),
        ],
    )
    before = path.read_bytes()
    use(page, path)
    says(page, "#about-data", "Exact duplicates", "Keys and e-mail addresses", "What was found")
    page.get_by_role("button", name="Mask them").click()
    says(page, "#about-data", "What is done about it", "Mask them", "Undo")
    page.get_by_role("button", name="Keep only the first of each").click()
    says(page, "#about-data", "1 row not used", "No problems found.")
    assert draft(studio)["data"]["remedies"] == {"secret": "mask", "duplicate": "drop"} and path.read_bytes() == before
    for name in ("Undo: Mask them", "Undo: Keep only the first of each"):
        page.get_by_role("button", name=name).click()
    says(page, "#about-data", "Exact duplicates", "Keys and e-mail addresses", "all rows usable")
    assert draft(studio)["data"]["remedies"] == {}


def test_over_long_rows_are_shortened_and_shown_so(studio, page, tmp_path):
    def long(n):
        return " ".join(f"word{n * word}" for word in range(400))

    use(
        page,
        write(
            tmp_path / "long.jsonl",
            [talk(f"{long(n) if n % 6 == 1 else 'Question'} {n}?", f"Answer {n}") for n in range(12)],
        ),
    )
    says(page, "#about-data", "Longer than the limit", "2 of 11 rows looked at are longer", "Rows cut at 256 tokens\n2")
    page.get_by_role("button", name="Shorten them at the front, so that the end fits").click()
    says(
        page,
        "#about-data",
        "What is done about it",
        "2 of 11 rows looked at",
        "Rows cut at 256 tokens\n0",
        "No problems found.",
    )
    page.get_by_role("tab", name="What the model sees").click()
    page.fill("#which-example input", "2")
    says(page, "#tokens", "Example 2 of 11", "0 are cut off. It was shortened at the front")
    page.get_by_role("button", name="Undo: Shorten them at the front, so that the end fits").click()
    says(page, "#about-data", "Longer than the limit", "Rows cut at 256 tokens\n2")
    page.get_by_role("button", name="Leave these rows out").click()
    says(page, "#tokens", "This row is longer than 256 tokens and is left out.")
    says(page, "#sentence", "(9 examples)")
    says(page, "#about-data", "2 rows not used", "Used for training\n9")
    page.get_by_role("button", name="Undo: Leave these rows out").click()


def test_several_labels_in_a_cell_are_proposed_and_their_spellings_merged(studio, page, tmp_path):
    labels = ["late", "late;damaged", "Damaged", "", "rude;late", "rude", "damaged", "LATE"] * 4
    path = tmp_path / "letters.csv"
    path.write_text(
        "text,labels\n" + "".join(f"The letter number {n} came.,{label}\n" for n, label in enumerate(labels))
    )
    use(page, path)
    says(page, "#sentence", "classify")
    assert draft(studio)["task"]["multi_label"] and draft(studio)["task"]["separator"] == ";"
    page.get_by_text("How this was recognised").click()
    says(
        page,
        "#about-data",
        "Column 'labels' holds several labels in 8 of 32 rows, parted by ';'.",
        "Labels written in several ways",
        "'LATE' → 'late'",
        "all rows usable",
    )
    page.get_by_role("button", name="Write each label as most rows do").click()
    says(page, "#about-data", "What is done about it", "Labels written in several ways", "8 rows", "No problems found.")
    page.get_by_role("button", name="Undo: Write each label as most rows do").click()
    says(page, "#about-data", "'LATE' → 'late'")
    assert draft(studio)["data"]["remedies"] == {}
    page.locator("#task-form").get_by_text("Several labels", exact=True).click()
    says(page, "#about-data", "Empty", "4 rows not used")


def test_a_column_for_each_label_is_recognised_and_can_be_chosen(studio, page):
    use(page, FLAGS)
    says(page, "#about-data", "Text and yes-or-no columns")
    assert draft(studio)["task"]["multi_label"] and draft(studio)["task"]["name"] == "classification"
    page.get_by_text("How this was recognised").click()
    says(page, "#about-data", "The columns toxic, insult, threat say yes or no")
    page.get_by_role("button", name="Which column plays which role").click()
    ticks = page.locator("#roles .of-several input")
    ticks.first.wait_for()
    assert [tick.get_attribute("value") for tick in ticks.all() if tick.is_checked()] == ["toxic", "insult", "threat"]
    page.locator("#roles .of-several input[value=threat]").click()
    until(
        lambda: (draft(studio)["data"]["mapping"] or {}).get("labels") == ["toxic", "insult"],
        20,
        "the label column was not taken out",
    )
    page.locator("#task").get_by_text("Multi-task classification").click()
    says(page, "#sentence", "classify by several label sets")
    says(page, "#about-data", "Text and label")
    page.locator("#task").get_by_text("Classification", exact=True).click()
    says(page, "#about-data", "Text and yes-or-no columns")
    assert draft(studio)["task"]["multi_label"]


def test_what_would_ruin_the_run_blocks_start(studio, page, tmp_path):
    before = studio.store.latest_run()
    use(page, write(tmp_path / "same.jsonl", [talk("a", "b")] * 5))
    says(page, "#about-data .notice.bad", "All 5 training rows are the same")
    says(page, "#sentence", "All 5 training rows are the same")
    tab(page, "Train")
    page.click("#start")
    says(page, "#said", "All 5 training rows are the same")
    assert studio.store.latest_run() == before


def test_files_mix_with_weights(studio, page, tmp_path):
    use(page, write(tmp_path / "one.jsonl", [talk(f"Ask {n}", f"Say {n}") for n in range(20)]))
    page.get_by_role("button", name="Mix in more files").click()
    page.fill(
        "#other-file input, #other-file textarea",
        str(write(tmp_path / "two.jsonl", [{"frage": f"Frage {n}", "antwort": f"Antwort {n}"} for n in range(10)])),
    )
    page.click("#add-file")
    says(page, "#files", "one.jsonl", "two.jsonl", "20 / 20", "10 / 10")
    page.locator("#which-file label", has_text="two.jsonl").click()
    page.fill("#weight input", "3")
    says(page, "#files", "× 3")
    assert draft(studio)["data"]["more"][0]["weight"] == 3
    page.get_by_role("button", name="Remove one.jsonl").click()
    page.wait_for_function("document.querySelector('#about-data h3')?.innerText === 'two.jsonl'")
    assert draft(studio)["data"]["more"] == [] and draft(studio)["data"]["weight"] == 3


def test_the_columns_of_a_validation_file_are_chosen_where_those_of_others_are(studio, page, tmp_path):
    use(page, write(tmp_path / "learn.jsonl", [{"prompt": f"Ask {n}", "completion": f"Say {n}"} for n in range(20)]))
    held = tmp_path / "held.csv"
    held.write_text("frage,antwort,rest\n" + "".join(f"Wer bist du {n}?,Ich bin {n}.,x{n}\n" for n in range(9)))
    page.get_by_role("button", name="Validation set").click()
    page.locator("#split summary").click()
    page.locator("#split").get_by_label("Validation file").fill(str(held))
    says(page, "#about-data", "held.csv has no column 'prompt' for prompt")
    page.get_by_role("button", name="Which column plays which role").click()
    page.locator("#which-file label", has_text="held.csv").click()
    page.wait_for_function(
        "document.querySelectorAll('#roles select')[1]?.textContent.includes('frage')"
    )  # the form is that file's now
    page.locator("#roles select").first.select_option("prompt_completion")
    page.wait_for_function(
        "document.querySelectorAll('#roles select').length === 10"
    )  # shape, prompt, answer, system text, and six that are folded away
    for at, column in ((1, "frage"), (2, "antwort")):
        page.locator("#roles select").nth(at).select_option(column)
    says(page, "#about-data", "Validation rows\n9", "Used for training\n20")
    assert page.locator("#weight").is_hidden() and draft(studio)["data"]["validation_mapping"]["roles"] == {
        "prompt": "frage",
        "completion": "antwort",
    }


def test_columns_that_lose_rows_are_asked_about_first(studio, page, tmp_path):
    rows = [{"prompt": f"Ask {n}", "completion": f"Say {n}", "note": "x" if n % 3 else ""} for n in range(12)]
    use(page, write(tmp_path / "notes.jsonl", rows))
    page.get_by_role("button", name="Which column plays which role").click()
    page.locator("#roles select").nth(2).select_option("note")
    says(page, "#roles-check", "With these columns 4 of the first 12 rows would be lost: lines 1, 4, 7, 10.")
    assert draft(studio)["data"]["mapping"] is None
    use(page, write(tmp_path / "others.jsonl", rows[:9]))  # a question about one file is none about the next
    page.wait_for_function("document.querySelector('#roles-check').innerText.trim() === ''")
    use(page, tmp_path / "notes.jsonl")
    page.wait_for_function(
        "document.querySelectorAll('#roles select')[2].selectedOptions[0].innerText === 'completion'"
    )
    page.locator("#roles select").nth(2).select_option("note")
    says(page, "#roles-check", "4 of the first 12 rows would be lost")
    page.get_by_role("button", name="Use them all the same").click()
    says(page, "#about-data", "4 rows not used")
    assert draft(studio)["data"]["mapping"]["roles"]["completion"] == "note"


def test_any_example_as_tokens_in_a_chosen_template(studio, page, tmp_path):
    use(
        page,
        write(
            tmp_path / "chats.jsonl",
            [*[talk(f"Question {n}?", f"Reply {n}") for n in range(9)], talk("mail?", "a.b@example.org")],
        ),
    )
    page.get_by_role("tab", name="What the model sees").click()
    says(page, "#tokens", "Example 1 of", "line 1 of chats.jsonl")
    page.click("#next-example")
    says(page, "#tokens", "Example 2 of")
    page.click("#next-finding")
    says(page, "#tokens", "line 10 of chats.jsonl")
    page.click("#template input")
    page.get_by_role("option", name="Gemma").click()
    rendered = "<start_of_turn>user\nmail?<end_of_turn>\n<start_of_turn>model\na.b@example.org<end_of_turn>"
    page.wait_for_function(
        "text => document.querySelector('#tokens .rendered')?.textContent.includes(text)", arg=rendered
    )
    assert draft(studio)["model"]["template"] == "gemma" and "<start_of_turn>" in template("gemma")
    chips = page.locator("#tokens .token.labelled").all_inner_texts()
    assert "".join(chips[1:]).replace("⏎", "\n").strip().endswith("<end_of_turn>")


def test_a_large_file_is_read_aside_and_can_be_stopped(studio, page, tmp_path):
    path = write(
        tmp_path / "large.jsonl",
        [
            talk(
                f"Question number {n} of the long list, is it there?",
                "Yes, it is there, as the keeper says. " * 3 + str(n),
            )
            for n in range(60_000)
        ],
    )
    page.fill("#place input, #place textarea", str(path))
    page.click("#use-place")
    says(page, "#about-data", "Reading the data", "rows so far")
    page.get_by_role("button", name="Stop").first.click()
    says(page, "#about-data", "Reading the data was stopped", "Read again")
    page.get_by_role("button", name="Read again").click()
    page.wait_for_function("document.querySelector('#about-data h3')?.innerText === 'large.jsonl'")
    says(page, "#about-data", "60,000", "about")
