"""The model card, README.md: what the Hub shows and indexes about a model."""

import re
from collections.abc import Sequence
from pathlib import Path

from sklearn_static._formats.files import MAX_SETTINGS, read_file
from sklearn_static._formats.hub import Source

_CARD = """---
library_name: {library}
tags: [static-embeddings, sentence-transformers, sklearn-static]
{metadata}---

A static embedding model: {n_rows:,} tokens, {n_components} dimensions, made with
[sklearn-static](https://pypi.org/project/sklearn-static/) from `{model}`.

```python
from sklearn_static import StaticEmbeddingVectorizer
features = StaticEmbeddingVectorizer.from_pretrained("this folder").transform(documents)

{usage}
```
"""
_USAGE = {
    "model2vec": """from model2vec import StaticModel
features = StaticModel.from_pretrained("this folder").encode(documents)""",
    "sentence-transformers": """from sentence_transformers import SentenceTransformer
features = SentenceTransformer("this folder").encode(documents)""",
}
_KEPT = ("language", "license", "license_name", "license_link", "base_model")
# Simple YAML, which is copied as it is: a value, or a list of them in one or several lines.
_VALUE = r"""(?:"[^"\\\n]*"|'[^'\n]*'|\w[\w.+@/-]*(?::[\w.+@/-]+)*)"""
_ENTRY = re.compile(
    rf"(?P<key>[a-z_]+):(?: +(?:{_VALUE}|\[ *{_VALUE}(?: *, *{_VALUE})* *\]) *\n|"
    rf" *\n(?: *- +{_VALUE} *\n)+)"
)
_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def read_metadata(source: Source, *, is_teacher: bool) -> str:
    """Read what the card of a model says about its language, its license and its origin.

    Parameters
    ----------
    source : Source
        The model from which another one is made.
    is_teacher : bool
        Whether it is a teacher, which is the origin itself, or a static embedding model.

    Returns
    -------
    metadata : str
        Entries for the header of the new card, in YAML.

    Raises
    ------
    OSError
        If there is no such model, or the card cannot be read.
    """
    path = source.path("README.md")
    card = "" if path is None else read_file(path, MAX_SETTINGS).decode(errors="replace")
    entries = _entries(card.replace("\r\n", "\n"))
    if is_teacher:
        entries.pop("base_model", None)
    if not source.is_folder:
        entries.setdefault("base_model", f"base_model: {source.model}\n")
    return "".join(entries.values())


def short_name(source: Source) -> str:
    """Return the name of a model on the Hub, or the last part of a path.

    Parameters
    ----------
    source : Source
        The model.

    Returns
    -------
    name : str
        The name, which tells nothing about the folders of the machine.
    """
    is_name = not source.is_folder and _HUB_NAME.fullmatch(source.model)
    return source.model if is_name else Path(source.model).name


def _entries(card: str) -> dict[str, str]:
    """Return the entries of a card's header that are kept."""
    header = re.match(r"---\n(.*?\n)---\s", card, re.DOTALL)
    if header is None:
        return {}
    lines = header[1].splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if line[0].isalpha()]
    entries = {}
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        entry = _ENTRY.fullmatch("".join(lines[start:end]))
        if entry is not None and entry["key"] in _KEPT:
            entries[entry["key"]] = entry[0]
    return entries


def model_card(
    readers: Sequence[str], *, metadata: str, n_rows: int, n_components: int, model: str
) -> str:
    """Write the card of a static embedding model.

    Parameters
    ----------
    readers : sequence of {"model2vec", "sentence-transformers"}
        The libraries that read the folder.
    metadata : str
        The result of `read_metadata`.
    n_rows : int
        Number of tokens.
    n_components : int
        Number of features.
    model : str
        The model from which it was made.

    Returns
    -------
    card : str
        The content of README.md.
    """
    return _CARD.format(
        library=readers[0],
        metadata=metadata,
        n_rows=n_rows,
        n_components=n_components,
        model=model,
        usage="\n\n".join(_USAGE[reader] for reader in readers),
    )
