"""What each data set is, which files it has, and where these come from. No I/O: ampsim.data.cache looks and fetches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GITHUB = "https://raw.githubusercontent.com"
"""Where the files of GitHub repositories are, as `<repository>/<commit>/<path>`; AMPSIM_MIRROR may replace it."""
RNTN = "munikarmanish/RNTN/12bb731ba9fb"
RNTN_ON_SPARK = "iron-fe/rntn_on_Spark/c42e0605cdc05ea9526ae4d93ade1d6ced1a562e"


@dataclass(frozen=True)
class RemoteText:
    """A text under GITHUB or a mirror. `sha256` is that of the text as it is there; it is kept compressed."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set for the listing.

    `files` are its files under the data folder or the cache; none if it ships with ampsim or is generated, as
    `origin` then says. `texts` has, for files that are fetched as they are, what to fetch.
    """

    summary: str
    origin: str
    licence: str
    files: tuple[str, ...] = ()
    texts: Mapping[str, RemoteText] | None = None


SST_TEXTS = {
    "sst/train.txt.gz": RemoteText(
        f"{RNTN_ON_SPARK}/trees/train.txt", "e2f3f41b0b1e6d4dddc0effe3bfc2d27ed8928079aa9a03d652311614fc5feb7"
    ),
    "sst/dev.txt.gz": RemoteText(
        f"{RNTN}/trees/dev.txt", "0e9336aed6e4730e19f58d00a77b3f0297efdb755f7b5e598c98a05e3f97ea40"
    ),
    "sst/test.txt.gz": RemoteText(
        f"{RNTN}/trees/test.txt", "6e54806dee95cf80cd918e7dfb3f6770f6df24bf826f289a4d1f709e1c8f6761"
    ),
}

QM9_SHA256 = "ae7b91c1cd6f70cf96ad227c1a10c43b0bf59e31caa199f515918fb1826f6e40"
"""Of qm9.npz as qm9pack 1.0.3 and RDKit 2026.09.1 make it."""

SOURCES: Mapping[str, Source] = {
    "mnist": Source("70,000 handwritten digits", "ships with ampsim", "CC BY-SA 3.0"),
    "list-reduction": Source("an operator and 1 to 10 digits, synthetic", "generated from the seed", "-"),
    "sst": Source(
        "Stanford Sentiment Treebank: 11,855 trees",
        "0.8 MB",
        "not stated",
        tuple(SST_TEXTS),
        SST_TEXTS,
    ),
    "babi15": Source("bAbI task 15: 11,000 questions as graphs", "ships with ampsim", "CC BY 3.0"),
    "qm9": Source(
        "130,829 molecules as graphs, dipole moments",
        "28 MB, by ampsim[qm9]",
        "MIT (qm9pack)",
        ("qm9.npz",),
    ),
}
