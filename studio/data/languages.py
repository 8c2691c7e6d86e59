"""Guess the language of a text from its script and, for Latin script, from very common words.

A heuristic for an overview of a dataset's languages: it covers the languages in `LANGUAGES`, does not distinguish
languages that share script and common words, and returns "" for any other text.
"""

from __future__ import annotations

import re

from studio.words import Sentence

LANGUAGES: dict[str, Sentence] = {
    "en": Sentence("English"),
    "de": Sentence("German"),
    "fr": Sentence("French"),
    "es": Sentence("Spanish"),
    "it": Sentence("Italian"),
    "pt": Sentence("Portuguese"),
    "nl": Sentence("Dutch"),
    "zh": Sentence("Chinese"),
    "ja": Sentence("Japanese"),
    "ko": Sentence("Korean"),
    "ru": Sentence("Cyrillic script"),
    "ar": Sentence("Arabic script"),
    "he": Sentence("Hebrew"),
    "hi": Sentence("Devanagari script"),
    "th": Sentence("Thai"),
    "el": Sentence("Greek"),
}
"""Language code → name shown to the user."""

_SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "zh": re.compile("[\u3400-\u9fff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
    "ar": re.compile("[\u0600-\u06ff]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "hi": re.compile("[\u0900-\u097f]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
    "el": re.compile("[\u0370-\u03ff]"),
}
_SMALL_WORDS = {
    "en": "the and of to is in that it you was for are with what how this not have does can",
    "de": "der die und das ist nicht ich ein eine zu den mit auf für sich wie dem wird auch was",
    "fr": "le la les et est des une du que pas dans qui pour vous je sur avec ce au quelle",
    "es": "el los las que es una del por con para no se lo como más pero qué su cuál está",
    "it": "il che di è non una della per sono con le gli si come più anche alla questo nel cosa",
    "pt": "o os que não uma do da em para com é se como mais mas dos você ao qual está",
    "nl": "de het een en van is niet dat op te zijn voor met die je wat hoe ook aan er",
}
_WORDS = {code: frozenset(words.split()) for code, words in _SMALL_WORDS.items()}
_TOKEN = re.compile(r"[^\W\d_]+")
_LOOKED_AT = 2000


def language_of(text: str) -> str:
    """The language code of `text`, a key of `LANGUAGES`; "" if none is recognised. Only the beginning is examined."""
    text = text[:_LOOKED_AT]
    if not text.isascii():
        counts = {code: len(pattern.findall(text)) for code, pattern in _SCRIPTS.items()}
        code = "ja" if counts["ja"] and counts["ja"] * 10 > counts["zh"] else max(counts, key=counts.get)
        if counts[code] * 4 > sum(map(str.isalpha, text)):
            return code
    words = _TOKEN.findall(text.lower())
    scores = {code: sum(map(small.__contains__, words)) for code, small in _WORDS.items()}
    best, second = sorted(scores, key=lambda code: -scores[code])[:2]
    return best if scores[best] >= 2 and scores[best] > scores[second] else ""
