"""What studio.data says exists in 简体中文, and importing it stays light."""

import json
import re
import subprocess
import sys

from studio.words import _FOLDER, Sentence, translations
from tests.data.data_templates import templates

FILE = _FOLDER / "zh" / "data.json"


def test_every_template_is_translated_with_its_placeholders():
    chinese = json.loads(FILE.read_text(encoding="utf-8"))
    assert chinese.keys() <= templates() <= translations("zh").keys()
    for english, translated in chinese.items():
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", translated)), english
        assert translated.strip()


def test_importing_is_light():
    code = (
        "import sys, pkgutil, importlib, studio.data\n"
        "for found in pkgutil.iter_modules(studio.data.__path__): importlib.import_module('studio.data.' + "
        "found.name)\n"
        "heavy = {'torch', 'transformers', 'gradio', 'pandas', 'datasets', 'pyarrow', 'openpyxl'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


def test_a_count_of_one_takes_the_singular():
    left, none = (
        "{count} {count:row is|rows are} left out.",
        "{count:The only row|None of the {count} rows} of {name} {count:cannot|can} be read. The first: {reason}",
    )
    assert [str(Sentence(left, count=count)) for count in (1, "1", 0, 2, 1.5, "1,000")] == [
        "1 row is left out.",
        "1 row is left out.",
        "0 rows are left out.",
        "2 rows are left out.",
        "1.5 rows are left out.",
        "1,000 rows are left out.",
    ]
    reason = Sentence("{place} | {n:,}", place="Line 1", n=1000)  # a bar of its own says nothing
    assert (
        str(Sentence(none, count=1, name="a.csv", reason=reason))
        == "The only row of a.csv cannot be read. The first: Line 1 | 1,000"
    )
    assert (
        str(Sentence(none, count=2, name="{a|b}", reason="")) == "None of the 2 rows of {a|b} can be read. The first: "
    )
    assert "1" in Sentence(none, count=1, name="a.csv", reason="").say("zh") and "|" not in Sentence(
        none, count=1, name="a.csv", reason=""
    ).say("zh")
