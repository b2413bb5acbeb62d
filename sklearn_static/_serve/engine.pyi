from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_static._serve.cuts import Rule
from sklearn_static._serve.vocabulary import Vocabulary

class TokenRows:
    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...

class FastTokenizer:
    def __init__(self, vocabulary: Vocabulary, rule: Rule | None) -> None: ...
    @property
    def vocabulary(self) -> Vocabulary: ...
    @property
    def rule(self) -> Rule | None: ...
    @property
    def n_pieces(self) -> int: ...
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
