"""What studio.data says exists in 简体中文, and importing it stays light."""

import json
import re
import subprocess
import sys

from data_templates import templates

from studio.words import _FOLDER, translations

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
        "for found in pkgutil.iter_modules(studio.data.__path__): importlib.import_module('studio.data.' + found.name)\n"
        "heavy = {'torch', 'transformers', 'gradio', 'pandas', 'datasets', 'pyarrow', 'openpyxl'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
