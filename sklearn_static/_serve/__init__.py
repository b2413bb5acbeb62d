"""All that `transform` needs: documents to token rows to features.

`FastTokenizer` and `Pooler` are compiled, but for machines where the extension could not be built.
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
