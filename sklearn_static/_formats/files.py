"""Reading files of a model's folder, none of which may be endless or take all memory."""

import os
from pathlib import Path

from tokenizers import Tokenizer

# Far above the sizes of real files: settings have some kilobytes, the largest tokenizers 100 MB.
MAX_SETTINGS = 64 * 2**20
MAX_TOKENIZER = 2**30


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise if a path is not that of a regular file, such as a pipe or a device.

    Parameters
    ----------
    path : str or os.PathLike
        The path of something that exists.

    Raises
    ------
    OSError
        If it is of another kind.
    """
    if not os.path.isfile(path):
        raise OSError(f"{os.fspath(path)} is not a regular file; replace it by one.")


def read_file(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a regular file of limited size.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    limit : int
        The largest size in bytes.

    Returns
    -------
    content : bytes
        All of it.

    Raises
    ------
    OSError
        If the file is too large or not a regular file.
    """
    check_regular(path)
    size = os.path.getsize(path)
    if size > limit:
        raise OSError(
            f"{os.fspath(path)} has {size:,} bytes, but at most {limit:,} are read; it does not "
            "belong to a model."
        )
    return Path(path).read_bytes()


def parse_tokenizer(path: str | os.PathLike[str], content: bytes) -> Tokenizer:
    """Parse the content of tokenizer.json.

    Parameters
    ----------
    path : str or os.PathLike
        The file, for the message.
    content : bytes
        Its content.

    Returns
    -------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.

    Raises
    ------
    ValueError
        If the content is not that of a tokenizer.
    """
    try:
        return Tokenizer.from_buffer(content)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers has no narrower class, and Rust may panic
        raise ValueError(f"{os.fspath(path)} is not a tokenizer: {error}") from error
