from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.vocabulary import Vocabulary

class TokenRows:
    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...

class FastTokenizer:
    def __init__(self, vocabulary: Vocabulary, composition: dict[str, Any] | None) -> None: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def composition(self) -> dict[str, Any] | None: ...
    @property
    def n_original(self) -> int: ...
    def tokenize(self, documents: list[str], max_length: int | None = None) -> TokenRows: ...

class Pooler:
    def __init__(
        self,
        stored: NDArray[Any],
        scales: NDArray[np.float32] | None,
        pairs: NDArray[np.int32] | None,
        n_tokens: int,
    ) -> None: ...
    def pool(
        self,
        tokens: TokenRows,
        out: NDArray[np.float32],
        *,
        max_length: int | None = None,
        unit_length: bool = True,
    ) -> int: ...

def build_trie(
    strings: list[bytes], scores: NDArray[np.float64] | None, values: NDArray[np.int32]
) -> dict[str, NDArray[Any]]: ...
def build_words(strings: list[bytes], values: NDArray[np.int32]) -> dict[str, NDArray[Any]]: ...
def merge_ids(
    words: dict[str, NDArray[Any]], merges: list[tuple[str, str]], n_prefix: int
) -> NDArray[np.int32]: ...
def build_merges(merges: NDArray[np.int32]) -> dict[str, NDArray[Any]]: ...
def single_tokens(
    model: dict[str, Any], strings: list[bytes], ids: NDArray[np.int32]
) -> NDArray[np.bool_]: ...
