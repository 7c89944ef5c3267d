"""Which word was meant where one is misspelt. Pure."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 80  # characters of a word that may be a slip


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant: that a slip of the hand or two make the word. None where there is
    none, or two are as near."""
    if len(word) > _LONGEST:
        return None
    plain = word.lower().replace("-", "_")
    slips = sorted((_slips(plain, name.lower().replace("-", "_")), name) for name in known)
    if not slips or slips[0][0] > max(1, len(slips[0][1]) // 4) or [few for few, _ in slips[:2]] == [slips[0][0]] * 2:
        return None
    return slips[0][1]


def _slips(word: str, meant: str) -> int:
    """How many characters were left out, put in, taken for others or for their neighbours. Two, where one is a digit:
    another number is no slip (`ext3`, `v0.9`, `lzo` for `lz4`)."""
    above: list[int] = []
    row: list[int] = [*range(len(meant) + 1)]
    for at, char in enumerate(word, start=1):
        before, above, row = above, row, [at]
        for to, wanted in enumerate(meant, start=1):
            wrong = 0 if char == wanted else 2 if char.isdigit() or wanted.isdigit() else 1
            least = min(above[to] + 1, row[to - 1] + 1, above[to - 1] + wrong)
            if at > 1 and to > 1 and char == meant[to - 2] and word[at - 2] == wanted:
                least = min(least, before[to - 2] + 1)
            row.append(least)
    return row[-1]
