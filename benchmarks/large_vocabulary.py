"""Time of fit with a teacher of a large vocabulary, with and without min_df, in the same run.

Nothing is cached, and the time includes reading the tokenizer and loading the teacher.
"""

import argparse
import statistics
import time
from pathlib import Path

import corpora
from results import Results, machine
from sklearn.base import clone

from sklearn_static import StaticEmbeddingVectorizer

N_DOCUMENTS = 3000


def seconds(vectorizer: StaticEmbeddingVectorizer, documents: list[str]) -> tuple[int, float]:
    """Fit once; give the number of token vectors and the time."""
    start = time.perf_counter()
    fitted = clone(vectorizer).fit(documents)
    return len(fitted.table_.vocabulary), time.perf_counter() - start


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument(
        "--teacher",
        type=Path,
        help="folder of a sentence-transformer, such as intfloat/multilingual-e5-small",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of the fits with min_df")
    options = parser.parse_args()
    if options.teacher is None or not options.teacher.is_dir():
        print(f"Skipped: there is no teacher in the folder --teacher={options.teacher}.")
        return
    try:
        documents = corpora.load("banking77", options.data).train_documents[:N_DOCUMENTS]
    except FileNotFoundError as error:
        print(f"Skipped: {error}")
        return
    print(machine())
    vectorizer = StaticEmbeddingVectorizer(options.teacher, memory=None, device="cpu", verbose=0)
    vectorizer.set_params(min_df=1).fit(documents[:10])  # imports torch
    small = [seconds(vectorizer, documents) for _ in range(options.rounds)]
    n_kept, few = small[0][0], statistics.median(taken for _, taken in small)
    n_all, whole = seconds(vectorizer.set_params(min_df=0), documents)
    header = (f"fit to {len(documents):,} documents", "token vectors", "seconds", "ratio")
    with Results(publish=False).table("", *header) as add:
        add("``min_df=0``", f"{n_all:,}", f"{whole:.1f}", "1.0 x")
        add("``min_df=1``", f"{n_kept:,}", f"{few:.1f}", f"{whole / few:.1f} x")


if __name__ == "__main__":
    main()
