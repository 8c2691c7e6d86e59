"""Per-record text statistics: flags for control characters and secrets, text length, MinHash for near duplicates.

`Fingerprints` takes the texts one by one and keeps a few numbers for each, so that a report on a million records needs
no second pass over the data. Near duplicates are found by MinHash (Broder 1997) over shingles of 16 bytes that begin at
each word, in lower case and without punctuation, with locality-sensitive hashing in `BANDS` bands of `PER_BAND` minimum
hashes: records that agree in a whole band are candidates, whose Jaccard similarity `similarity` computes.
"""

from __future__ import annotations

import re
import string
from array import array

import numpy as np

CONTROL, MOJIBAKE, EMAIL, KEY, MEDIA = 1, 2, 4, 8, 16
BANDS, PER_BAND = 5, 3
ALIKE = 0.7
"""Minimum Jaccard similarity of the shingles of two texts for them to count as near duplicates."""
_BATCH = 2 * 2**20
_PIECE = 16

CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
GARBLED = re.compile("\ufffd|[ÃÂ][\u0080-\u00bf]|â€|ï»¿|ï¿½|ðŸ|锟斤")
EMAILS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
MEDIA_MARKS = re.compile(
    r"<\|?(image|audio|video)(?:_\d+)?\|?>(?!(?s:.*?)</\1>)|<(?:img|audio|video)_(?:start|placeholder)>", re.IGNORECASE
)
"""Placeholders for an image, audio or video in a text. HTML elements, which have a closing tag, do not match."""
_KEY_STARTS = ("sk-", "AKIA", "ghp_", "gho_", "ghs_", "github_pat_", "hf_", "xox", "AIza", "PRIVATE KEY", "eyJ")
KEYS = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|gh[pos]_[A-Za-z0-9]{36,}|github_pat_\w{22,}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[0-9A-Za-z_-]{35}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
"""Keys of OpenAI, Amazon, GitHub, Hugging Face, Slack and Google, JSON web tokens and private keys, by their published
prefixes."""


_MEDIA_STARTS = ("<image", "<audio", "<video", "<|image", "<|audio", "<|video", "<img_", "<IMAGE")
_USUAL = bytes(code for code in range(256) if code in (9, 10, 12, 13) or 32 <= code != 127)
_UNUSUAL = (b"\xc2", b"\xe2\x80", b"\xe2\x81", b"\xef\xbb\xbf")


def flags(text: str, data: bytes) -> int:
    """Bit mask of CONTROL, MOJIBAKE, EMAIL, KEY and MEDIA found in `text`.

    data: `text` as UTF-8, for a fast first check.
    """
    found = 0
    if data.translate(None, _USUAL) or (
        not text.isascii() and any(part in data for part in _UNUSUAL) and CONTROLS.search(text)
    ):
        found |= CONTROL
    if not text.isascii() and GARBLED.search(text):
        found |= MOJIBAKE
    if "@" in text and EMAILS.search(text):
        found |= EMAIL
    if "<" in text and any(start in text for start in _MEDIA_STARTS) and MEDIA_MARKS.search(text):
        found |= MEDIA
    for start in _KEY_STARTS:
        if start in text:
            return found | KEY if KEYS.search(text) else found
    return found


class Fingerprints:
    """Flags, characters, words and MinHash bands of each record, in the order of `add`.

    `seal` makes the arrays: flags, characters, words of shape (records,) and bands of shape (records, BANDS).
    """

    def __init__(self):
        self._flags, self._characters, self._words = array("B"), array("I"), array("I")
        self._bands: list[np.ndarray] = []
        self._waiting: list[bytes] = []
        self._size = 0

    def add(self, found: list[str]) -> None:
        """Add the texts of one record. Raises UnicodeEncodeError if one holds a lone surrogate."""
        text = "\n".join(found)
        data = text.encode("utf-8")
        self._flags.append(flags(text, data))
        self._characters.append(sum(map(len, found)))
        self._waiting.append(data)
        self._size += len(data)
        if self._size > _BATCH:
            self._work()

    def seal(self) -> None:
        """Measure the remaining texts and make the arrays; call after the last `add`."""
        self._work()
        self.flags = np.frombuffer(self._flags, np.uint8)
        self.characters = np.frombuffer(self._characters, np.uint32)
        self.words = np.frombuffer(self._words, np.uint32)
        self.bands = np.concatenate(self._bands) if self._bands else np.empty((0, BANDS), np.uint64)

    def __getstate__(self) -> dict:
        return {name: getattr(self, name) for name in ("flags", "characters", "words", "bands")}

    def _work(self) -> None:
        """Measure the texts added since the last call, as one batch."""
        if self._waiting:
            words, bands = _measure(self._waiting)
            self._words.frombytes(words.astype(np.uint32).tobytes())
            self._bands.append(bands)
            self._waiting, self._size = [], 0


_GAP = b" " * _PIECE
_PLAIN = bytes.maketrans(string.ascii_uppercase.encode() + b"\t\n\r\v\f", string.ascii_lowercase.encode() + b"     ")
_PUNCTUATION = string.punctuation.encode()
_A, _B = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
_TURNS = np.array([pow(0x9E3779B97F4A7C15, 2 * k + 1, 2**64) for k in range(1, BANDS * PER_BAND + 1)], np.uint64)


def _pieces(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hash of each shingle of all texts, index of the first shingle of each text, number of words of each text)."""
    plain = [text.translate(_PLAIN, _PUNCTUATION) for text in texts]
    joined = np.frombuffer(_GAP.join([b"", *plain, b""]), np.uint8)
    ends = np.cumsum(np.fromiter(map(len, plain), np.int64, len(plain)) + _PIECE)
    begins = np.concatenate(([0], ends[:-1])) + _PIECE
    filled = joined != 32
    starts = np.zeros(len(joined), bool)
    starts[1:] = filled[1:] & ~filled[:-1]
    starts |= (joined >= 0xE3) & (
        joined <= 0xED
    )  # UTF-8 lead bytes of CJK scripts, which have no spaces: each character is a word
    words = np.add.reduceat(starts, begins, dtype=np.int64) if len(begins) else np.empty(0, np.int64)
    starts[begins] = True  # at least one shingle per text, even without a word
    at = np.flatnonzero(starts)
    eight = np.ndarray((len(joined) - 7,), "<u8", joined.data, strides=(1,))
    with np.errstate(over="ignore"):
        hashes = eight[at] * _A
        hashes ^= hashes >> np.uint64(29)
        hashes += eight[at + 8] * _B
        hashes ^= hashes >> np.uint64(32)
        hashes *= _A
        hashes ^= hashes >> np.uint64(29)
    return hashes, np.searchsorted(at, begins), words


def _measure(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(words of shape (texts,), band hashes of shape (texts, BANDS))."""
    hashes, firsts, words = _pieces(texts)
    bands = np.empty((len(texts), BANDS), np.uint64)
    with np.errstate(over="ignore"):
        for band in range(BANDS):
            mixed = np.full(len(texts), band + 1, np.uint64)
            for turn in _TURNS[band * PER_BAND : (band + 1) * PER_BAND]:
                smallest = np.minimum.reduceat(hashes * turn, firsts)
                mixed = (mixed ^ smallest) * _B
                mixed ^= mixed >> np.uint64(31)
            bands[:, band] = mixed
    return words, bands


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the shingles of two texts: 1 if they differ only in case and punctuation."""
    hashes, firsts, _ = _pieces([one.encode("utf-8"), other.encode("utf-8")])
    return _shared(hashes[: firsts[1]], hashes[firsts[1] :])


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    first, second = set(one.tolist()), set(other.tolist())
    return len(first & second) / len(first | second)


def candidates(bands: np.ndarray) -> np.ndarray:
    """Candidate pairs of near duplicates, sorted and unique, of shape (pairs, 2).

    Each is the index of a text and of the first text with the same hash in one of the bands.
    """
    pairs = []
    for band in range(bands.shape[1]):
        _, first, group = np.unique(bands[:, band], return_index=True, return_inverse=True)
        twin = first[group]
        later = np.flatnonzero(twin != np.arange(len(twin)))
        pairs.append(np.stack([later, twin[later]], axis=1))
    found = np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)
    return np.unique(found, axis=0)
