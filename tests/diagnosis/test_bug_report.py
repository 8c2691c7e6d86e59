"""What somebody sends with a bug report says what is needed, and nothing that is nobody's business."""

import json
import zipfile
from pathlib import Path

import pytest

from studio.diagnosis import bug_report
from studio.diagnosis.redaction import Redaction
from studio.recipe import recipe_from
from studio.words import Sentence, StudioError

SECRETS = {
    "hub": "hf_AbCdEfGhIjKlMnOpQrStUvWx",
    "openai": "sk-proj-abcdefghijklmnop1234",
    "github": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "wandb": "0123456789abcdef0123456789abcdef01234567",
    "address": "mary:hunter2@",
    "bearer": "Bearer 8Rkf93jf",
    "json": '"api_key": "quite short"',
    "assigned": "password=open,sesame",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKCAQ\n-----END RSA PRIVATE KEY-----",
}
PARTS = {"address": "hunter2", "bearer": "8Rkf93jf", "json": "quite short", "assigned": "open", "pem": "MIIEow"}


@pytest.mark.parametrize("kind", SECRETS)
def test_secrets_are_taken_out(kind):
    text = SECRETS[kind] if kind != "address" else f"https://{SECRETS[kind]}host/x"
    assert PARTS.get(kind, SECRETS[kind]) not in Redaction(Path("/x"), environment={})(f"before {text} after")


def test_values_of_secret_variables_folders_and_rows():
    hide = Redaction(
        Path("/srv/studio"),
        ["My knee hurts\nsince Tuesday", "short"],
        environment={"MY_TOKEN": "blue-elephant", "HF_HUB_TOKEN_PATH": "/tmp", "LANG": "C.UTF-8", "KEYBOARD": "qwerty"},
    )
    hidden = hide(
        f"blue-elephant qwerty C.UTF-8 /srv/studio/logs {Path.home()}/data /home/mary/x "
        "KeyError: 'My knee hurts\\nsince Tuesday' short since Tuesday"
    )
    assert hidden == "[secret] qwerty C.UTF-8 HOME/logs ~/data /home/…/x KeyError: '[data]' short [data]"
    assert hide(f"ValueError: {'w ' * 60!r}") == "ValueError: [120 characters]"
    harmless = "tokens=128 token_count: 5 tokenizer: fast, key: value, 2026-11-28 07:00:01 step 12"
    assert Redaction(Path("/x"), environment={})("learning_rate: 0.0002, keys: 3") == "learning_rate: 0.0002, keys: 3"
    assert "tokenizer: fast" in Redaction(Path("/x"), environment={})(harmless)


def test_the_bundle_of_a_failed_run(home, store, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a-planted-secret")
    row = "The patient Jane Roe has the number 12345"
    data = tmp_path / "private folder" / "rows.jsonl"
    data.parent.mkdir()
    data.write_text(json.dumps({"prompt": row, "completion": "A second private sentence"}) + "\n")
    recipe = recipe_from({"data": {"source": str(data)}}).to_dict()
    run_id, job_id = store.create_run("secret plan", recipe, "cpu")
    store.job_started(job_id, 1, 1.0)
    store.add_event("log", Sentence("The first: {reason}", reason=row).to_json(), run_id=run_id)
    text = f'Traceback\n  File "{Path.home()}/x.py"\nValueError: {row!r} with a-planted-secret'
    store.add_event("traceback", {"text": text}, run_id=run_id)
    store.add_event("sample", {"prompt": "the sampled prompt", "answer": "", "expected": "", "step": 1}, run_id=run_id)
    (home.logs / f"job-{job_id}.log").write_text("x" * 200_000 + f"\nlast line, {SECRETS['hub']}, {data}\n")
    store.job_ended(job_id, "failed", Sentence("The worker failed: {error}.", error=row).to_json())
    with zipfile.ZipFile(bug_report.write(home, store, run_id, tmp_path)) as bundle:
        files = {name: bundle.read(name).decode() for name in bundle.namelist()}
    whole = "\n".join(files.values())
    for planted in (row, "second private", "a-planted-secret", SECRETS["hub"], "sampled prompt", str(Path.home())):
        assert planted not in whole
    assert "Jane" not in whole and "private folder" not in whole
    assert "[data]" in files["error.txt"] and "ValueError" in files["error.txt"] and "[data]" in files["log.txt"]
    assert "last line" in files["output.txt"] and len(files["output.txt"]) < 100
    assert "rows.jsonl" in files["recipe.yaml"] and json.loads(files["versions.json"])["torch"]
    assert json.loads(files["hardware.json"])["cores"] and json.loads(files["run.json"])["state"] == "failed"
    with pytest.raises(StudioError, match="no run to report"):
        bug_report.write(home, store, "nobody", tmp_path)
