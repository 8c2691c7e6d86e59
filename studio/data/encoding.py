"""Detect the encoding of a text file, and open it with undecodable bytes replaced by a marker.

The marker `BAD` is a character that does not occur in valid text; readers report the lines that contain it.
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
"""Maximum number of characters in a line; longer lines are refused, to bound memory."""

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
    """Codec error handler that replaces undecodable bytes by `BAD`."""
    if isinstance(error, UnicodeDecodeError):
        return BAD, error.end
    raise error


codecs.register_error("studio.data.mark", _mark)


def looks_binary(head: bytes) -> bool:
    """Whether the bytes are not text in any supported encoding: several zero bytes, or many control characters."""
    if not head or any(head.startswith(bom) for bom, _ in _BOMS) or _utf16_without_bom(head):
        return False
    return head.count(0) > 1 + len(head) // 10_000 or len(_CONTROL.findall(head)) > 0.05 * len(head) + 2


def detect_encoding(path: Path, name: str) -> str:
    """The Python codec name of the text in `path`; the whole file is checked for invalid UTF-8, in chunks.

    Raises StudioError if no encoding fits.
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
    """utf-16-le or utf-16-be where about every second byte is zero, as in mostly Latin text; else None."""
    even, odd = head[0:4096:2], head[1:4096:2]
    if len(head) < 4:
        return None
    if odd.count(0) > 0.7 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    if even.count(0) > 0.7 * len(even) and odd.count(0) < 0.1 * len(odd):
        return "utf-16-be"
    return None


def _count_utf8(path: Path) -> tuple[int, int, bytes]:
    """(non-ASCII characters in valid UTF-8, bytes of invalid UTF-8, sample of the non-ASCII lines around these)."""
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
    """The encoding of `sample` by charset-normalizer, with a preference for cp1252 in western text."""
    from charset_normalizer import from_bytes

    matches = from_bytes(sample, cp_isolation=_CANDIDATES)
    best = matches.best()
    if best is None or best.encoding in _LATIN:
        try:
            western = sample.decode("cp1252")
        except UnicodeDecodeError:
            western = ""
        # Short western texts fit several code pages equally well; Excel in western Europe writes cp1252.
        if western and _looks_western(western) and (best is None or best.language not in _EASTERN):
            return "cp1252"
    if best is None:
        raise StudioError(
            "The encoding of {name} cannot be recognised. Save the file as UTF-8 and choose it again.", name=name
        )
    return best.encoding


def _looks_western(text: str) -> bool:
    """Whether most non-ASCII characters are western European, and most characters are ASCII."""
    high = [char for char in text if ord(char) > 127]
    return bool(high) and sum(char in _WESTERN for char in high) > 0.9 * len(high) and len(high) < 0.4 * len(text)


_WESTERN = set("àâäáãåæçéèêëíìîïñóòôöõøœúùûüÿßÀÂÄÁÃÅÆÇÉÈÊËÍÌÎÏÑÓÒÔÖÕØŒÚÙÛÜ€£“”‘’„‚–—…«»°©®·¡¿ºª§\xa0")


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    """Open `path` as text, with bytes that are invalid in `encoding` replaced by `BAD`. newline: as in `open`."""
    return open(path, encoding=encoding, errors="studio.data.mark", newline=newline)


def numbered_lines(path: Path, encoding: str, name: str, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line with its line end). Raises StudioError for a line of `MAX_LINE` characters."""
    with open_text(path, encoding, newline) as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE:
                raise StudioError(
                    "Line {number} of {name} is longer than {limit} million characters, so this is not a text file of "
                    "rows. Split that line, or choose another file.",
                    number=number,
                    name=name,
                    limit=MAX_LINE // 10**6,
                )
            yield number, line
