"""The figures of a run as the page says them."""

import re

from studio.ui.results import figures_html
from tests.ui.bare import bare_page


def test_macro_f1_stands_there_with_its_intervals():
    metrics = {
        "macro_f1": 0.8,
        "base_macro_f1": 0.1,
        "intervals": {"macro_f1": {"base": (0.05, 0.15), "fine_tuned": (0.7, 0.9), "difference": None}},
    }
    text = re.sub("<[^>]+>", " ", figures_html(bare_page(), metrics))
    assert re.search(
        r"Macro F1\s+10 %\s+\(5 – 15\)\s+80 %\s+\(70 – 90\)\s+\+70 points\s+In brackets", text
    )  # nothing is said of the gain's range
    assert "Macro F1" not in figures_html(bare_page(), {"correct": 0.5, "base_correct": 0.2})
