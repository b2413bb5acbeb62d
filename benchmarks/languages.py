"""Speed of tokenizers of published models on documents in several languages, and their loading.

It needs the tokenizers and texts that fetch_tokenizers.py collects. All contenders have one thread,
take turns, and every figure is a median; what counts is the ratio.
"""

import argparse
import gzip
import json
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
from pathlib import Path
from typing import Any

import corpora
import joblib
import numpy as np
from fetch_tokenizers import default_folder
from model2vec import StaticModel
from numpy.typing import NDArray
from results import Results, machine
from sklearn.feature_extraction.text import HashingVectorizer
from tokenizers import Tokenizer

from sklearn_static import StaticEmbeddingVectorizer
from sklearn_static._distill.usable_tokens import usable_tokens
from sklearn_static._serve import FastTokenizer
from sklearn_static._serve.composition import compose
from sklearn_static._serve.original import Original
from sklearn_static._serve.table import StaticTable
from sklearn_static._serve.vocabulary import Vocabulary

FAMILIES = {
    "bert-uncased": "BERT",
    "xlm-r": "XLM-R",
    "qwen3": "Qwen 3",
    "gemma3": "Gemma 3",
    "llama3": "Llama 3",
    "gptoss": "GPT-4o, gpt-oss",
    "modernbert": "ModernBERT",
    "mistral": "Mistral",
}
LANGUAGES = {
    "English": "ag_news_7600",
    "German": "paragraphs_de",
    "French": "paragraphs_fr",
    "Russian": "paragraphs_ru",
    "Japanese": "paragraphs_ja",
    "Korean": "paragraphs_ko",
}
N_COLUMNS = 256
N_CHARACTERS = 400_000  # of each language, to be timed; as many are read before
ONE_DOCUMENT = "my new card has still not arrived yet"
LARGEST = "gemma3"


def read_texts(language: str, data: Path, folder: Path) -> list[str] | None:
    """Read documents of a language, or None if there are none."""
    name = LANGUAGES[language]
    for place in (data, folder / "texts"):
        path = place / f"{name}.jsonl.gz"
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                return [json.loads(line)["text"] for line in lines]
    return None


def halves(documents: list[str]) -> tuple[list[str], list[str]]:
    """Return documents to read before, and new ones, without duplicates."""
    distinct = list(dict.fromkeys(documents))
    order = np.random.default_rng(0).permutation(len(distinct))
    parts: tuple[list[str], list[str]] = ([], [])
    sizes = [0, 0]
    for i, place in enumerate(order):
        if sizes[i % 2] < N_CHARACTERS:
            parts[i % 2].append(distinct[place])
            sizes[i % 2] += len(distinct[place])
    return parts


def taking_turns(
    contenders: dict[str, tuple[Callable[[], Callable[[list[str]], object]], list[str]]],
    second: list[str],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Give each contender's median seconds for new documents.

    Parameters
    ----------
    contenders : dict
        By name, a function that makes a fresh object's method, and what it reads before.
    second : list of str
        The documents to time.
    rounds : int
        Number of turns.
    clock : callable
        What measures.

    Returns
    -------
    seconds : dict
        The medians.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (make, first) in contenders.items():
            method = make()
            method(first)
            start = clock()
            method(second)
            seconds[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


class Family:
    """A tokenizer, its vectors, and fresh objects around them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name / "tokenizer.json"
        self.content = self.path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(self.content)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.content = tokenizer.to_str()
        self.n_ids = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        self.vocabulary: Vocabulary = usable_tokens(Original.from_tokenizer(tokenizer))
        self.composition = compose(self.vocabulary.original.state)
        rng = np.random.default_rng(0)
        self.vectors: NDArray[np.float32] = rng.standard_normal(
            (self.n_ids, N_COLUMNS), dtype=np.float32
        )
        self.rows = np.ascontiguousarray(self.vectors[self.vocabulary.token_ids])

    def tokenizer(self) -> FastTokenizer:
        """Make a tokenizer that has read nothing."""
        return FastTokenizer(self.vocabulary, self.composition)

    def ours(self) -> Callable[[list[str]], object]:
        """Make a table that has read nothing."""
        return StaticTable(self.tokenizer(), self.rows).transform

    def static_model(self) -> StaticModel:
        """Make a model of model2vec."""
        return StaticModel(self.vectors, Tokenizer.from_str(self.content), normalize=True)

    def model2vec(self) -> Callable[[list[str]], object]:
        """Make a model of model2vec that has read nothing."""
        return partial(self.static_model().encode, max_length=None, use_multiprocessing=False)


Families = dict[str, str]  # of names of folders to labels


def tokenizer_languages_table(
    tables: Results, folder: Path, families: Families, texts: dict[str, list[str]], rounds: int
) -> None:
    """Millions of characters per second, and the ratio to model2vec with the same tokenizer."""
    title = f"New documents, {N_COLUMNS} columns: M characters/s (ratio to model2vec)"
    with tables.table("speed_languages", "tokenizer", *texts, title=title) as add:
        for name, label in families.items():
            family = Family(folder, name)
            cells, hashing = [], []
            for documents in texts.values():
                first, second = halves(documents)
                contenders = {"ours": (family.ours, first), "model2vec": (family.model2vec, first)}
                if name == "bert-uncased":
                    vectorizer = HashingVectorizer()
                    contenders["hashing"] = (lambda v=vectorizer: v.transform, first)
                result = taking_turns(contenders, second, rounds)
                speed = sum(map(len, second)) / result["ours"] / 1e6
                cells.append(f"{speed:.1f} ({result['model2vec'] / result['ours']:.1f} x)")
                if "hashing" in result:
                    hashing.append(f"{result['hashing'] / result['ours']:.1f} x")
            add(label, *cells)
            if hashing:
                add("... against HashingVectorizer", *hashing)


def gigatoken_table(
    tables: Results, folder: Path, families: Families, texts: dict[str, list[str]], rounds: int
) -> None:
    """Tokenization alone, against gigatoken."""
    try:
        import gigatoken
    except ImportError:
        print("\ngigatoken is not installed: its table is left out.")
        return
    languages = [name for name in ("English", "Russian", "Japanese", "Korean") if name in texts]
    title = "Tokenization alone: M characters per CPU second (ratio to gigatoken)"
    with tables.table("speed_gigatoken", "tokenizer", *languages, title=title) as add:
        for name, label in families.items():
            if name not in ("qwen3", "gemma3"):
                continue
            family = Family(folder, name)

            def theirs(family: Family = family) -> Callable[[list[str]], object]:
                return gigatoken.Tokenizer(str(family.path)).encode_batch

            cells = []
            for language in languages:
                first, second = halves(texts[language])
                contenders = {
                    "ours": (lambda family=family: family.tokenizer().tokenize, first),
                    "gigatoken": (theirs, first),
                }
                result = taking_turns(contenders, second, rounds, time.process_time)
                speed = sum(map(len, second)) / result["ours"] / 1e6
                cells.append(f"{speed:.1f} ({result['gigatoken'] / result['ours']:.2f} x)")
            add(label, *cells)


def one_document_table(tables: Results, folder: Path, families: Families, n_calls: int) -> None:
    """One document of 8 words."""
    header = ("one document of 8 words, microseconds", "sklearn-static", "model2vec")
    with tables.table("one_document_families", *header) as add:
        for name, label in families.items():
            family = Family(folder, name)
            model2vec, ours = family.static_model(), vectorizer_of(family)
            seconds: dict[str, list[float]] = {"ours": [], "model2vec": []}
            for _ in range(n_calls):
                for who, run in (("ours", ours.transform), ("model2vec", model2vec.encode)):
                    start = time.perf_counter()
                    run([ONE_DOCUMENT])
                    seconds[who].append(time.perf_counter() - start)
            add(label, *(f"{statistics.median(x) * 1e6:.0f}" for x in seconds.values()))


def vectorizer_of(family: Family) -> StaticEmbeddingVectorizer:
    """Load a family's vectors as a vectorizer."""
    with tempfile.TemporaryDirectory() as folder:
        family.static_model().save_pretrained(folder)
        return StaticEmbeddingVectorizer.from_pretrained(folder, max_length=None)


# Each is run in a fresh interpreter that has imported scikit-learn. It prints the CPU seconds to
# the first features, with the imports of the library, and the MB of the peak beyond these imports.
LOADS = {
    "joblib": ("joblib, sklearn_static", "joblib.load(path).transform([text])"),
    "joblib, mmap_mode='r'": (
        "joblib, sklearn_static",
        "joblib.load(path, mmap_mode='r').transform([text])",
    ),
    "pickle": ("sklearn_static", "pickle.load(open(path, 'rb')).transform([text])"),
    "from_pretrained": (
        "sklearn_static",
        "sklearn_static.StaticEmbeddingVectorizer.from_pretrained(path).transform([text])",
    ),
    "model2vec": ("model2vec", "model2vec.StaticModel.from_pretrained(path).encode([text])"),
}
LOAD = """
import pickle, re, sys, time, sklearn.linear_model
path, text = sys.argv[1:]
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
start = time.process_time()
import {imports}
before = peak()
features = {load}
print(time.process_time() - start, (peak() - before) / 1e6)
"""
WORKER = """
import re, sys, joblib, sklearn.linear_model
path, text = sys.argv[1:]
if path:
    vectorizer = joblib.load(path, mmap_mode="r")
    vectorizer.transform([text])
print("loaded", flush=True)
sys.stdin.readline()
content = open("/proc/self/smaps_rollup").read()
print(sum(map(int, re.findall(r"Private_\\w+:\\s+(\\d+)", content))) / 1e3)
"""


def load(who: str, path: Path) -> tuple[float, float]:
    """Give the CPU seconds to the first features, and the MB of the peak beyond the imports."""
    imports, expression = LOADS[who]
    code = LOAD.format(imports=imports, load=expression)
    command = [sys.executable, "-c", code, str(path), ONE_DOCUMENT]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def private_megabytes(path: str) -> list[float]:
    """Give the private memory of two workers that have loaded a file at the same time."""
    command = [sys.executable, "-c", WORKER, path, ONE_DOCUMENT]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    return [float(worker.communicate("go on\n")[0]) for worker in workers]


def large_loading_table(tables: Results, folder: Path, families: Families, rounds: int) -> None:
    """Load a vocabulary of 262,000 tokens: time, peak of memory, memory that is not shared."""
    if LARGEST not in families:
        print(f"\n{LARGEST} is not in {folder}: the table of loading is left out.")
        return
    family = Family(folder, LARGEST)
    with tempfile.TemporaryDirectory() as temporary:
        paths = {who: Path(temporary) / who.partition(",")[0] for who in LOADS}
        family.static_model().save_pretrained(paths["model2vec"])
        ours = StaticEmbeddingVectorizer.from_pretrained(paths["model2vec"], max_length=None)
        ours.save_pretrained(paths["from_pretrained"])
        joblib.dump(ours, paths["joblib"])
        paths["pickle"].write_bytes(pickle.dumps(ours))
        size = family.vectors.nbytes / 1e6
        del ours, family
        figures: dict[str, list[tuple[float, float]]] = {who: [] for who in LOADS}
        for _ in range(rounds):
            for who, path in paths.items():
                figures[who].append(load(who, path))
        header = ("CPU seconds to the first features", "MB at the peak beyond the vectors")
        title = (
            f"Fresh interpreter with scikit-learn, {FAMILIES[LARGEST]}'s vocabulary, {size:.0f} MB "
            "of vectors"
        )
        with tables.table("loading_large", "loaded from", *header, title=title) as add:
            for who, pairs in figures.items():
                seconds, peak = (statistics.median(column) for column in zip(*pairs, strict=True))
                is_mapped = "mmap_mode" in who
                beyond = f"{peak:.0f}, vectors not read" if is_mapped else f"{peak - size:.0f}"
                add(who, f"{seconds:.2f}", beyond)
        alone = statistics.mean(private_megabytes(""))
        with tables.table("private_memory", "two workers, joblib with mmap_mode='r'", "MB") as add:
            add("Python and scikit-learn alone", f"{alone:.0f}")
            for i, megabytes in enumerate(private_megabytes(str(paths["joblib"]))):
                add(f"worker {i + 1}, beyond that", f"{megabytes - alone:.0f}")


def available(folder: Path) -> dict[str, str]:
    """Return the families whose tokenizer is there."""
    return {
        name: label
        for name, label in FAMILIES.items()
        if (folder / name / "tokenizer.json").exists()
    }


def main() -> None:
    """Make all tables, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("languages", "gigatoken", "loading", "one_document")
    parser.add_argument("tables", nargs="*", help=f"of {names}; all by default")
    parser.add_argument("--data", type=Path, default=corpora.DATA, help="folder of the data sets")
    parser.add_argument("--folder", type=Path, default=default_folder(), help="of the tokenizers")
    parser.add_argument("--tokenizers", nargs="+", default=list(FAMILIES), help="only these")
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(names):
        parser.error(f"unsupported tables {sorted(unknown)}; supported: {names}")
    families = available(options.folder)
    families = {name: families[name] for name in families if name in options.tokenizers}
    if not families:
        parser.error(
            f"none of {options.tokenizers} is in {options.folder}; run "
            "benchmarks/fetch_tokenizers.py first"
        )
    # The tokenizers read it when they are first used.
    os.environ["RAYON_NUM_THREADS"] = "1"
    warnings.filterwarnings("ignore", message=".*no in-vocabulary token")
    # A table of some of the tokenizers is not published.
    tables = Results(not options.quick and len(options.tokenizers) == len(FAMILIES))
    rounds = 1 if options.quick else 5
    wanted = options.tables or names
    print(machine(), f"Load of the machine: {os.getloadavg()[0]:.1f}.")
    texts = {language: read_texts(language, options.data, options.folder) for language in LANGUAGES}
    found = {language: documents for language, documents in texts.items() if documents}
    if "languages" in wanted:
        tokenizer_languages_table(tables, options.folder, families, found, rounds)
    if "gigatoken" in wanted:
        gigatoken_table(tables, options.folder, families, found, rounds)
    if "one_document" in wanted:
        one_document_table(tables, options.folder, families, 100 if options.quick else 1000)
    if "loading" in wanted:
        large_loading_table(tables, options.folder, families, 1 if options.quick else 3)


if __name__ == "__main__":
    main()
