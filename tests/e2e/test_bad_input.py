"""Bad input of every kind: one sentence that names the place and the way out, the window stays up, nothing half-made
stays."""

import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import PATIENCE, Studio, until
from tests.e2e.pages import ready, tab

pytestmark = pytest.mark.e2e

ROW = {"prompt": "What is the capital of France?", "answer": "Paris, of course."}
GOOD = [ROW | {"prompt": f"Question {number}?"} for number in range(12)]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A window without a standby."""
    made = Studio(tmp_path_factory.mktemp("home"))
    made.open_window(DELTA_STUDIO_STANDBY_IMPORTS="")
    yield made
    made.end()


@pytest.fixture(scope="module")
def shared(studio, browser):
    """One page for all tests here, with whatever its scripts complained about."""
    context = browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(studio.address)
    ready(page)
    yield page
    context.close()


@pytest.fixture
def page(shared, studio):
    """The page on its Data tab. After each test it must still work: another example can be chosen."""
    shared.evaluate("document.querySelector('#said button')?.click()")
    tab(shared, "Data")
    log = studio.home.logs / "window.log"
    begin = log.stat().st_size
    yield shared
    shared.evaluate("document.querySelector('#said button')?.click()")
    tab(shared, "Data")
    name, file = ("captain", "captain.jsonl") if source(studio) != "captain" else ("tickets", "tickets.csv")
    shared.click(f"#examples [data-item='{name}']")
    shown(shared, file)
    assert shared.complaints == [] and studio.window.poll() is None
    written = log.read_bytes()[begin:].decode()
    assert "Traceback" not in written, written


def shown(page, title: str) -> None:
    """The Data tab shows this file."""
    page.wait_for_function("title => document.querySelector('#about-data h3')?.innerText === title", arg=title)


def sees_notice(page, *words: str) -> str:
    """The one error sentence on the page; it holds all of `words`, a way out, and nothing from inside the program."""
    page.wait_for_selector("#said .notice")
    notices = page.locator("#said .notice").all()
    assert len(notices) == 1 and page.locator(".toast-body").count() == 0
    return one_sentence(notices[0].locator("p").inner_text(), *words)


def noticed(page, place: str, *words: str) -> str:
    """The one notice in `place` that holds all of `words`."""
    page.wait_for_function(
        "([place, words]) => [...document.querySelectorAll(`${place} .notice`)].some(node => words.every(word => "
        "node.innerText.includes(word)))",
        arg=[place, list(words)],
    )
    notices = [text for text in page.locator(f"{place} .notice.bad, {place} .notice.warn").all_inner_texts() if text]
    assert len(notices) == 1, notices
    return one_sentence(notices[0], *words)


def one_sentence(text: str, *words: str) -> str:
    assert all(word in text for word in words), text
    assert re.search(
        r"choose|try|correct|save|make|put|check|write|download|convert|give|rename|must|missing|split|remove|read are",
        text,
        re.IGNORECASE,
    ), f"no way out: {text}"
    assert "Traceback" not in text and "Error:" not in text and len(text) < 500, text
    return text


def jsonl(*rows) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def zipped(folder: Path, members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(folder / "made.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return (folder / "made.zip").read_bytes()


def upload(page, name: str, data: bytes) -> None:
    page.set_input_files(
        "#upload input[type=file]", {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    )


def use(page, path) -> None:
    page.fill("#place input, #place textarea", str(path))
    page.click("#use-place")


def source(studio) -> str:
    """What the draft's data is."""
    return (studio.store.note("draft") or {}).get("data", {}).get("source", "")


def files(studio) -> set[str]:
    """Every file that an upload could have left: in the studio's home, and on the way there."""
    kept = {str(path) for path in studio.home.uploads.rglob("*")}
    on_the_way = (Path(folder) / name for folder, _, names in os.walk(studio.home.incoming) for name in names)
    return kept | {str(path) for path in on_the_way if path.suffix not in ("", ".yaml", ".json")}


# ---- files that are refused -------------------------------------------------------------------------------------

REFUSED = {
    "empty.jsonl": (lambda folder: b"", "empty.jsonl is empty", "choose another"),
    "blank.csv": (lambda folder: b" \n\n \n", "blank.csv is empty"),
    "broken.json": (
        lambda folder: b"[\n" + b",\n".join([json.dumps(ROW).encode()] * 5) + b',\n{"prompt": oops}]',
        "Line 7 of broken.json",
        "Correct that place",
    ),
    "allbroken.jsonl": (
        lambda folder: b'{"prompt": \n{"prompt": \n',
        "None of the 2 rows of allbroken.jsonl",
        "Line 1 of allbroken.jsonl",
    ),
    "noise.txt": (
        lambda folder: bytes(range(128, 160)) * 20 + b"\x81\x8d\x8f\x90\x9d" * 40,
        "noise.txt",
        "Save the file as UTF-8",
    ),
    "binary.jsonl": (lambda folder: b"\x00\x01\x02\x03" * 99, "binary.jsonl is neither text nor"),
    "weights.pkl": (lambda folder: pickle.dumps({"a": 1}), "weights.pkl is a Python pickle"),
    "bomb.zip": (
        lambda folder: zipped(folder, {"data.jsonl": bytes(40 * 2**20)}),
        "bomb.zip would unpack to 41 MB",
        "choose the unpacked file",
    ),
    "outside.zip": (
        lambda folder: zipped(folder, {"../../evil.jsonl": jsonl(ROW)}),
        "outside.zip",
        "../../evil.jsonl",
        "points outside",
    ),
    "torn.zip": (lambda folder: zipped(folder, {"a.jsonl": jsonl(*GOOD)})[:90], "torn.zip is a damaged zip"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read(page, studio, tmp_path, name):
    make, *words = REFUSED[name]
    draft, before = studio.store.note("draft"), files(studio)
    upload(page, name, make(tmp_path))
    sees_notice(page, *words)
    page.wait_for_selector("#upload input[type=file]", state="attached")  # ready for the next file
    assert files(studio) == before and studio.store.note("draft") == draft
    assert not [
        *tmp_path.rglob("evil.jsonl"),
        *studio.home.root.rglob("evil.jsonl"),
        *studio.home.root.parent.glob("evil.jsonl"),
    ]


def test_the_sentence_is_in_the_page_s_language(studio, open_page):
    page = open_page(studio.address, locale="zh-CN")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    page.wait_for_selector("#about-data h3")
    upload(page, "empty.jsonl", b"")
    page.wait_for_selector("#said p")
    assert page.inner_text("#said strong") == "请检查"
    assert re.search(r"empty\.jsonl.*[一-鿿]", page.inner_text("#said p"))


@pytest.mark.slow
def test_a_file_over_the_limit(page, studio, tmp_path):
    big = tmp_path / "big.jsonl"
    with open(big, "wb") as file:
        file.truncate(201 * 2**20)
    before = files(studio)
    page.set_input_files("#upload input[type=file]", big)
    assert "201 MB" in sees_notice(page, "big.jsonl", "200 MB", "Type its path")
    assert files(studio) == before


@pytest.mark.slow
def test_a_file_over_the_limit_that_is_sent_past_the_page(studio):
    before = {path for path in studio.home.incoming.rglob("*") if path.is_file()}
    own = {"Origin": studio.address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    answer = httpx.post(
        f"{studio.address}gradio_api/upload",
        files={"files": ("big.jsonl", bytes(201 * 2**20))},
        headers=own,
        timeout=60,
    )
    assert answer.status_code == 413
    assert {path for path in studio.home.incoming.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_local_file_over_the_limit_is_read(page, tmp_path):
    big = tmp_path / "large.jsonl"
    with open(big, "w", encoding="utf-8") as file:
        for number in range(205):
            file.write(json.dumps(ROW | {"prompt": f"Question {number}?", "unused": "x" * 2**20}) + "\n")
    assert big.stat().st_size > 200 * 2**20
    use(page, big)
    shown(page, "large.jsonl")
    assert "205" in page.inner_text("#about-data .facts")


@pytest.mark.parametrize(
    "path, words",
    [
        ("/nowhere/x.jsonl", ["/nowhere/x.jsonl", "Check the path"]),
        ("", ["No data is chosen", "try an example"]),
        ("~nobody-here/x.jsonl", ["~nobody-here/x.jsonl", "Check the path"]),
        ("/" + "x" * 5000, ["Check the path"]),
        ("hub:../../etc/passwd", ["hub:../../etc/passwd", "Write it as hub:owner/name"]),
        (os.sep, ["is a folder", "Choose a file in it"]),
    ],
    ids=["missing", "empty", "home of nobody", "too long", "hub id", "folder"],
)
def test_a_path_that_leads_nowhere(page, studio, path, words):
    draft = studio.store.note("draft")
    use(page, path)
    sees_notice(page, *words)
    assert studio.store.note("draft") == draft


def test_the_notice_goes_when_the_person_has_gone_on(page, tmp_path):
    use(page, "/nowhere/x.jsonl")
    sees_notice(page, "Check the path")
    (tmp_path / "right.jsonl").write_bytes(jsonl(*GOOD))
    use(page, tmp_path / "right.jsonl")
    shown(page, "right.jsonl")
    assert page.locator("#said .notice").count() == 0


# ---- files that are read, with something wrong in them ----------------------------------------------------------


def test_broken_json_and_wrong_bytes_in_single_lines(page, studio):
    rows = jsonl(*GOOD[:6], '{"prompt": oops}', *GOOD[6:]).split(b"\n")
    rows[2] = b'{"prompt": "caf\xe9", "answer": "x"}'
    rows[8] = '{"prompt": "čaj, šálek, žízeň, kůň", "answer": "ě"}'.encode()
    upload(page, "mixed.jsonl", b"\n".join(rows))
    shown(page, "mixed.jsonl")
    assert "2 rows not used" in page.inner_text("#about-data .run-head")
    found = page.inner_text("#about-data .findings")
    assert "Line 7 of mixed.jsonl is not valid JSON" in found and "Correct that line or remove it" in found
    assert "Line 3 of mixed.jsonl holds bytes that are not utf-8" in found
    assert [path.name for path in studio.home.uploads.rglob("*.jsonl")] == ["mixed.jsonl"]


def test_no_usable_row(page, studio, tmp_path):
    path = tmp_path / "hollow.jsonl"
    path.write_bytes(jsonl(*[{"messages": [{"role": "narrator", "content": "Once upon a time."}]}] * 5))
    use(page, path)
    noticed(page, "#about-data", "None of the 5 rows of hollow.jsonl", "Line 1 of hollow.jsonl")
    tab(page, "Train")
    page.click("#start")
    sees_notice(page, "hollow.jsonl")
    assert studio.store.runs() == []


def test_columns_that_nobody_recognises_can_be_chosen(page, studio):
    upload(
        page,
        "odd.csv",
        b"frage,antwort,rest\n" + b"".join(b"Wer bist du %d?,Ich bin %d.,x%d\n" % (n, n, n) for n in range(9)),
    )
    noticed(page, "#about-data", "odd.csv", "frage, antwort, rest", "Choose the shape and its columns yourself")
    page.get_by_role("button", name="Which column plays which role").click()
    page.locator("#roles select").first.select_option("prompt_completion")
    noticed(page, "#about-data", "No column of odd.csv is chosen for prompt", "Choose one of these")
    page.get_by_label("prompt", exact=True).select_option("frage")
    noticed(page, "#about-data", "No column of odd.csv is chosen for answer")
    page.get_by_label("answer", exact=True).select_option("antwort")
    shown(page, "odd.csv")
    assert "all rows usable" in page.inner_text("#about-data .run-head")
    # The same file again: the columns are as they were chosen.
    page.click("#examples [data-item='captain']")
    shown(page, "captain.jsonl")
    use(page, next(studio.home.uploads.rglob("odd.csv")))
    shown(page, "odd.csv")
    page.click("#proposed-roles")
    noticed(page, "#about-data", "Choose the shape and its columns yourself")
    page.get_by_role("button", name="Which column plays which role").click()


def test_rows_that_a_changed_role_loses_are_counted(page, tmp_path):
    path = tmp_path / "gaps.jsonl"
    path.write_bytes(jsonl(*[row | {"short": "" if number < 4 else "Yes."} for number, row in enumerate(GOOD)]))
    use(page, path)
    shown(page, "gaps.jsonl")
    page.get_by_role("button", name="Which column plays which role").click()
    page.get_by_label("answer", exact=True).select_option("short")
    page.get_by_role("button", name="Use them all the same").click()
    page.wait_for_function("document.querySelector('#about-data .run-head')?.innerText.includes('4 rows not used')")
    # A column that is gone: the file is read again, and the sentence names what is missing and what there is.
    path.write_bytes(jsonl(*GOOD))
    tab(page, "Train")
    page.click("#start")
    sees_notice(page, "gaps.jsonl has no column 'short' for answer", "prompt, answer", "Choose one of these")
    tab(page, "Data")
    page.get_by_role("button", name="Which column plays which role").click()


def test_an_encoding_that_does_not_exist(page):
    page.get_by_role("button", name="Validation set").click()
    page.locator("#split details summary").first.click()
    page.get_by_label("Encoding").fill("klingon")
    noticed(page, "#about-data", "'klingon' is no known encoding", "utf-8")
    page.get_by_role("button", name="Validation set").click()


# ---- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../evil.jsonl", "..\\..\\evil.jsonl", "/etc/evil.jsonl", "%2e%2e%2fevil.jsonl", "a" * 400 + ".jsonl"]
)
def test_a_file_name_cannot_choose_a_place(studio, name):
    own = {"Origin": studio.address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    around = studio.home.incoming.parent
    before = set(around.rglob("*evil*"))
    answer = httpx.post(f"{studio.address}gradio_api/upload", files={"files": (name, jsonl(*GOOD))}, headers=own)
    if answer.status_code == 200:
        assert studio.home.incoming.resolve() in Path(answer.json()[0]).resolve().parents
        Path(answer.json()[0]).unlink()
    assert (
        not [path for path in set(around.rglob("*evil*")) - before if studio.home.incoming not in path.parents]
        and not Path("/etc/evil.jsonl").exists()
    )


@pytest.mark.parametrize("name", ['<b>"bold"</b> & co.jsonl', "😀 ünï 数据.jsonl", "..jsonl", "q" * 180 + ".jsonl"])
def test_odd_names_are_taken_and_shown_as_text(page, studio, name):
    before = source(studio)
    upload(page, name, jsonl(*GOOD, {"prompt": name, "answer": "for a file of its own"}))
    kept = Path(until(lambda: source(studio) != before and source(studio), 20, "the file was not taken"))
    assert (
        kept.is_file()
        and studio.home.uploads in kept.parents
        and kept.suffix == ".jsonl"
        and not re.search(r"[<>\"&/]", kept.name)
    )
    shown(page, kept.name)
    assert page.locator("#about-data h3 b, #preview b").count() == 0


# ---- models -----------------------------------------------------------------------------------------------------


def model_folder(folder: Path, config: object = None, **members: bytes) -> Path:
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    for name, data in members.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
HEADER = json.dumps({"layers.0.q_proj.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
WEIGHTS = struct.pack("<Q", len(HEADER)) + HEADER + bytes(16)
MODELS = {
    "nothing": (None, {}, "no config.json", "choose the folder"),
    "weightless": (CONFIG, {}, "no weights", "download the model again"),
    "pickled": (CONFIG, {"pytorch_model__bin": pickle.dumps(1)}, "pickle weights", "convert it to safetensors"),
    "torn": (CONFIG, {"model__safetensors": WEIGHTS[:-4]}, "incomplete or not safetensors", "download the model again"),
    "broken": ("{not json", {}, "config.json in", "not valid JSON", "download the model again"),
    "strange": ("[]", {"model__safetensors": WEIGHTS}, "does not describe a model", "download the model again"),
    "nameless": (CONFIG, {"model__safetensors": WEIGHTS}, "config.json names no model type", "model_type"),
    "wordless": (
        CONFIG | {"model_type": "gpt_neo"},
        {"model__safetensors": WEIGHTS},
        "no tokenizer.json",
        "choose a model",
    ),
}


def choose_model(page, name) -> None:
    tab(page, "Method")
    box = page.locator("#base-model input")
    box.fill(str(name))
    box.press("Enter")


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_folder_that_is_none(page, studio, tmp_path, kind):
    config, members, *words = MODELS[kind]
    choose_model(page, model_folder(tmp_path / kind, config, **members))
    noticed(page, "#about-model", *words)
    tab(page, "Train")
    page.click("#start")
    sees_notice(page, *words)
    assert studio.store.runs() == []
    choose_model(page, "starter")
    page.wait_for_function("!document.querySelector('#about-model .notice')")


def test_a_model_that_is_nowhere(page, tmp_path):
    choose_model(page, tmp_path / "nowhere")
    noticed(page, "#about-model", "There is no model folder", "'starter'")
    choose_model(page, "~nobody-here/" + "x" * 300)
    noticed(page, "#about-model", "There is no model folder")
    choose_model(page, "starter")
    page.wait_for_function("!document.querySelector('#about-model .notice')")


# ---- numbers and recipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed, words",
    [
        ("99", "Learning rate must be at most 10, but is 99."),
        ("quick", "Learning rate must be a number, but is 'quick'."),
        ("", "Learning rate is missing."),
    ],
    ids=["too large", "no number", "nothing"],
)
def test_a_number_out_of_range(page, studio, typed, words):
    tab(page, "Hyperparameters")
    field = page.get_by_label("Learning rate", exact=True)
    good = field.input_value()
    field.fill(typed)
    page.wait_for_function(
        "words => [...document.querySelectorAll('#training-form .of-error')].some(node => node.innerText === words)",
        arg=words,
    )
    tab(page, "Train")
    page.click("#start")
    sees_notice(page, "Learning rate")
    assert studio.store.runs() == []
    tab(page, "Hyperparameters")
    field.fill(good)
    page.wait_for_function("![...document.querySelectorAll('#training-form .of-error')].some(node => node.innerText)")


@pytest.mark.parametrize(
    "text, words",
    [
        ("training: {learning_rate: 99}", ["training.learning_rate", "must be at most 10, but is 99"]),
        ("trainin: {}", ["'trainin' is not an option here"]),
        ("- a\n- list", ["bad.yaml is not a recipe", "YAML mapping"]),
        ("name: a\nmodel: [\ntask: {", ["bad.yaml is not valid YAML (line 3)", "correct that line"]),
        ("# " + "x" * 300_000, ["bad.yaml has more than 200 kB", "Choose the YAML file"]),
    ],
    ids=["number", "name", "list", "torn", "huge"],
)
def test_a_recipe_that_is_none(page, studio, tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    draft = studio.store.note("draft")
    tab(page, "Hyperparameters")
    with page.expect_file_chooser() as chooser:
        page.click("#load-recipe")
    chooser.value.set_files(path)
    sees_notice(page, *words)
    assert studio.store.note("draft") == draft
    assert not list(studio.home.incoming.rglob("bad.yaml"))
