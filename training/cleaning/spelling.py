"""Unifies spellings of one word by counting, and finds words that look like a slip of another."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

_BREAKS: Final = re.compile(r"[\s_\-]+")
_ALPHA_2: Final = re.compile("[A-Za-z]{2}")
SLIP_RATIO: Final = 0.85
"""Similarity of two words, from 0 to 1, from which the rare one is reported as a slip."""
SLIP_SHARE_MAX: Final = 0.01
"""Maximum frequency of a slip relative to the intended word."""
WORDS_MAX: Final = 2_000
"""Maximum size of a vocabulary that is searched for slips."""


def folded(word: str) -> str:
    """Return the common form of all spellings of one word."""
    return _BREAKS.sub(" ", unicodedata.normalize("NFKC", word).casefold()).strip()


def one_spelling(counts: Mapping[str, int], declared: Mapping[str, str], *, countries: bool = False) -> dict[str, str]:
    """Return the spellings to replace.

    Args:
        counts: frequency of each word.
        declared: other spelling -> kept spelling; also for words that differ by more than their spelling.
        countries: whether two letters are an ISO 3166 code, in capitals.

    Returns:
        Spelling -> most common spelling of the same word (a tie: the smallest in byte order). A declared spelling takes
        precedence.
    """
    aliases = {folded(other): spelling for other, spelling in declared.items()}
    meant = {word: aliases.get(folded(word), word) for word in counts}
    if countries:
        meant = {
            word: spelling.upper() if _ALPHA_2.fullmatch(spelling) else spelling for word, spelling in meant.items()
        }
    weights: dict[str, Counter[str]] = defaultdict(Counter)
    for word, spelling in meant.items():
        weights[folded(spelling)][spelling] += counts[word]
    preferred = set(declared.values())
    best = {
        fold: min(group, key=lambda word: (word not in preferred, -group[word], word.encode()))
        for fold, group in weights.items()
    }
    spellings = {word: best[folded(spelling)] for word, spelling in meant.items()}
    return {word: spelling for word, spelling in spellings.items() if word != spelling}


def likely_slips(counts: Mapping[str, int]) -> dict[str, str]:
    """Return rare words that look like a common one: rare -> common. They are reported, not changed."""
    if len(counts) > WORDS_MAX:
        return {}
    common = sorted(counts, key=lambda word: (-counts[word], word))
    slips = {}
    for word in common:
        if len(word) < 4:
            continue
        candidates = [other for other in common if counts[word] <= SLIP_SHARE_MAX * counts[other]]
        if alike := difflib.get_close_matches(word, candidates, n=1, cutoff=SLIP_RATIO):
            slips[word] = alike[0]
    return slips
