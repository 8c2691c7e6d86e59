"""Which encoding a text file has, and opening it so that bytes outside that encoding can be seen, not lost.

Undecodable bytes become `BAD`, a character that no valid text holds; readers report the line it stands on.
Knows nothing about what the text means.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from studio.words import StudioError

BAD = "\udcff"
MAX_LINE = 32 * 2**20
"""Characters in one line. A longer one is no line of text: refused, so that memory stays bounded."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CANDIDATES = [
    "cp1252",
    "gb18030",
    "big5",
    "cp932",
    "euc_jp",
    "cp949",
    "cp1251",
    "koi8_r",
    "cp1250",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp874",
    "mac_roman",
]
_EASTERN = {"Czech", "Croatian", "Hungarian", "Polish", "Romanian", "Slovak", "Slovene", "Turkish"}
_LATIN = {"cp1250", "cp1252", "cp1254", "mac_roman"}
_CHUNK = 4 * 2**20
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_SAMPLE = 64 * 1024


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return BAD, error.end
    raise error


codecs.register_error("studio.data.mark", _mark)


def looks_binary(head: bytes) -> bool:
    """True where the bytes are not text in any encoding we read: more than a stray zero, or many control characters."""
    if not head or any(head.startswith(bom) for bom, _ in _BOMS) or _utf16_without_bom(head):
        return False
    return head.count(0) > 1 + len(head) // 10_000 or len(_CONTROL.findall(head)) > 0.05 * len(head) + 2


def detect_encoding(path: Path, name: str) -> str:
    """A Python codec name for the text in `path`. The whole file is looked at, in chunks, for stray bytes.

    Raises StudioError where no encoding fits.
    """
    with open(path, "rb") as file:
        head = file.read(_SAMPLE)
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    guess = _utf16_without_bom(head)
    if guess:
        return guess
    good, bad, sample = _count_utf8(path)
    if bad == 0 or good >= 4 * bad:
        return "utf-8"
    return _ask_normalizer(sample, name)


def _utf16_without_bom(head: bytes) -> str | None:
    """UTF-16 of mostly western text shows as every second byte zero."""
    even, odd = head[0:4096:2], head[1:4096:2]
    if len(head) < 4:
        return None
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return None


def _count_utf8(path: Path) -> tuple[int, int, bytes]:
    """Non-ASCII characters that are valid UTF-8, bytes that are not, and a sample of the text around the latter."""
    good = bad = 0
    sample = bytearray()
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            if chunk.isascii() and not decoder.getstate()[0]:
                continue
            text = decoder.decode(chunk)
            high = len(text) - len(text.encode("ascii", "ignore"))
            wrong = len(re.findall("[\udc80-\udcff]", text)) if high else 0
            good, bad = good + high - wrong, bad + wrong
            if wrong and len(sample) < _SAMPLE:
                sample += b"\n".join(line for line in chunk.splitlines() if not line.isascii())[:_SAMPLE]
        bad += len(decoder.decode(b"", final=True))
    if bad and not sample:
        sample += path.read_bytes()[-_SAMPLE:]
    return good, bad, bytes(sample)


def _ask_normalizer(sample: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=_CANDIDATES)
    best = matches.best()
    if best is None or best.encoding in _LATIN:
        try:
            western = sample.decode("cp1252")
        except UnicodeDecodeError:
            western = ""
        # Short western texts fit several code pages alike; the one that Excel writes in western Europe is the likely one.
        if western and _looks_western(western) and (best is None or best.language not in _EASTERN):
            return "cp1252"
    if best is None:
        raise StudioError(
            "The encoding of {name} cannot be recognised. Save the file as UTF-8 and choose it again.", name=name
        )
    return best.encoding


def _looks_western(text: str) -> bool:
    high = [char for char in text if ord(char) > 127]
    return bool(high) and sum(char in _WESTERN for char in high) > 0.9 * len(high) and len(high) < 0.4 * len(text)


_WESTERN = set("àâäáãåæçéèêëíìîïñóòôöõøœúùûüÿßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ€£“”‘’„‚–—…«»°©®·¡¿ºª§\xa0")


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    """`path` as text; bytes that are not in `encoding` become `BAD`. newline: as in `open`."""
    return open(path, encoding=encoding, errors="studio.data.mark", newline=newline)


def numbered_lines(path: Path, encoding: str, name: str, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """(line number from 1, line with its end) of a text file; raises StudioError on a line without end."""
    with open_text(path, encoding, newline) as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise StudioError(
                    "Line {number} of {name} is longer than {limit} million characters, so this is not a text file of rows. "
                    "Split that line, or choose another file.",
                    number=number,
                    name=name,
                    limit=MAX_LINE // 10**6,
                )
            yield number, line
