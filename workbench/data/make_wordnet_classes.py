"""Make `wordnet_classes.tsv`: ImageNet's classes and the nouns of WordNet above them.

It needs the file ``data.noun`` of WordNet 3.0 (<https://wordnet.princeton.edu/download>; Debian has
it in the package ``wordnet-base`` 1:3.0), and ``wnids.txt`` of Tiny ImageNet::

    python -m workbench.data.make_wordnet_classes data.noun tiny-imagenet-200/wnids.txt

The ids of ImageNet's 1000 classes in their order are those of timm (Apache-2.0). An id is ``n`` and
the noun's offset in that very file, so other releases of WordNet do not do.
"""

import sys
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

HEADER = """\
# ImageNet's classes and the nouns of WordNet 3.0 above them, made by make_wordnet_classes.py.
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. See WORDNET_LICENSE.txt.
# id, index in ImageNet, index in Tiny ImageNet (ids sorted), hypernyms, words
"""


class Noun(NamedTuple):
    """A noun: the words for it, and the ids of what it is a kind of."""

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]


def read_nouns(text: str) -> dict[str, Noun]:
    """The nouns of ``data.noun``, whose format is told in WordNet's wndb(5WN), by their ids."""
    nouns = {}
    for line in text.splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields = line.partition(" | ")[0].split(" ")
        words = 4 + 2 * int(fields[3], 16)
        pointers = fields[words + 1 : words + 1 + 4 * int(fields[words])]
        nouns[f"n{fields[0]}"] = Noun(
            tuple(word.replace("_", " ") for word in fields[4:words:2]),
            tuple(
                f"n{offset}"
                for sign, offset in zip(pointers[::4], pointers[1::4], strict=True)
                if sign in ("@", "@i")
            ),
        )
    return nouns


def above(nouns: Mapping[str, Noun], ids: Iterable[str]) -> list[str]:
    """The ids and all that is above them, sorted."""
    found: set[str] = set()
    left = list(ids)
    while left:
        each = left.pop()
        if each not in found:
            found.add(each)
            left += nouns[each].hypernyms
    return sorted(found)


def table(nouns: Mapping[str, Noun], imagenet: list[str], tiny: list[str]) -> str:
    """The file's text."""
    lines = []
    for each in above(nouns, [*imagenet, *tiny]):
        places = [str(ids.index(each)) if each in ids else "" for ids in (imagenet, tiny)]
        noun = nouns[each]
        lines.append("\t".join([each, *places, " ".join(noun.hypernyms), ", ".join(noun.words)]))
    return HEADER + "\n".join(lines) + "\n"


def main() -> None:
    """Write the file beside this one."""
    from timm.data import ImageNetInfo

    nouns = read_nouns(Path(sys.argv[1]).read_text(encoding="ascii"))
    tiny = sorted(Path(sys.argv[2]).read_text(encoding="ascii").split())
    imagenet = [str(each) for each in ImageNetInfo("imagenet-1k").label_names()]
    target = Path(str(files("workbench.data") / "wordnet_classes.tsv"))
    target.write_text(table(nouns, imagenet, tiny), encoding="utf-8")


if __name__ == "__main__":
    main()
