"""Everything that `transform` needs, from documents to rows of tokens to features.

`FastTokenizer` and `Pooler` are compiled, except on machines where the extension cannot be built.
"""

try:
    from sklearn_static._serve.engine import FastTokenizer, Pooler

    IS_COMPILED = True
except ImportError:
    from sklearn_static._serve.portable import (  # type: ignore[assignment]
        FastTokenizer,
        Pooler,
    )

    IS_COMPILED = False

__all__ = ["IS_COMPILED", "FastTokenizer", "Pooler"]
