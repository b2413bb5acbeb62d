"""The teacher: loads a sentence-transformer's weights and runs token ids through it.

The only module that needs torch.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PreTrainedModel,
)

from sklearn_static._distill.folder import Encoder
from sklearn_static._formats.source import Source, join


def _mean_by_position(hidden: Tensor) -> Tensor:
    """Weight position i (from 1) with i, as sentence-transformers does for decoders."""
    weights = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
    return (hidden * weights[:, None]).sum(1) / weights.sum()


# From outputs (n_texts, length, dimension) without padding to (n_texts, dimension).
_POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda hidden: hidden[:, 0],
    "max": lambda hidden: hidden.amax(1),
    "mean": lambda hidden: hidden.mean(1),
    "mean_sqrt_len_tokens": lambda hidden: hidden.sum(1) / hidden.shape[1] ** 0.5,
    "weightedmean": _mean_by_position,
    "lasttoken": lambda hidden: hidden[:, -1],
}
# What a forward pass takes at most, in tokens for each text of a full batch: bounds its memory.
_TOKENS_PER_TEXT = 32


@dataclass(frozen=True)
class Teacher:
    """A loaded sentence-transformer.

    Attributes
    ----------
    transformer : transformers.PreTrainedModel
        The transformers model, in float32 and on its device.
    pooling : tuple of str
        Names of `_POOL`; the results are concatenated.
    dense : torch.nn.Sequential
        The layers after the pooling; may be empty.
    """

    transformer: PreTrainedModel
    pooling: tuple[str, ...]
    dense: nn.Sequential

    def outputs(self, input_ids: NDArray[np.integer[Any]], batch_size: int) -> NDArray[np.float32]:
        """Run texts of equal length through the teacher.

        Parameters
        ----------
        input_ids : ndarray of int, shape (n_texts, length)
            Token ids, special tokens included. Being of one length, they need no padding, so an
            output does not depend on the texts beside it.
        batch_size : int
            Texts per forward pass; fewer where they are longer than 32 tokens.

        Returns
        -------
        outputs : ndarray of float32, shape (n_texts, dimension)
            The pooled outputs after the dense layers, not normalized.

        Raises
        ------
        ValueError
            If there are ids that the transformer does not know, or if an output is not finite.
        """
        n_known = self.transformer.get_input_embeddings().num_embeddings
        if input_ids.max() >= n_known:
            raise ValueError(
                f"The tokenizer has token id {input_ids.max()}, but the transformer knows only "
                f"{n_known} tokens: they do not belong together."
            )
        step = max(1, min(batch_size, batch_size * _TOKENS_PER_TEXT // input_ids.shape[1]))
        outputs: NDArray[np.float32] = np.concatenate(
            [
                self._forward(input_ids[i : i + step]).numpy(force=True)
                for i in range(0, len(input_ids), step)
            ]
        )
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The teacher's output is not finite for {np.count_nonzero(~finite)} of "
                f"{len(input_ids)} inputs, first for the token ids {input_ids[~finite][0]}."
            )
        return outputs

    @torch.inference_mode()
    def _forward(self, input_ids: NDArray[np.integer[Any]]) -> Tensor:
        device = next(self.transformer.parameters()).device
        ids = torch.from_numpy(input_ids.astype(np.int64)).to(device)
        # The mask says that a token which is also the padding token is meant.
        hidden = self.transformer(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        pooled = torch.cat([_POOL[mode](hidden) for mode in self.pooling], dim=1)
        first = next((m for m in self.dense.modules() if isinstance(m, nn.Linear)), None)
        if first is not None and first.in_features != pooled.shape[1]:
            raise ValueError(
                f"Pooling {'+'.join(self.pooling)} gives {pooled.shape[1]} dimensions, but the "
                f"teacher's Dense module takes {first.in_features}."
            )
        output: Tensor = self.dense(pooled)
        return output


def load_teacher(encoder: Encoder, device: str | None) -> Teacher:
    """Load the weights.

    Parameters
    ----------
    encoder : Encoder
        The model.
    device : str or None
        A torch device; None takes the best available.

    Returns
    -------
    teacher : Teacher
        Ready to run.

    Raises
    ------
    OSError
        If a file is missing.
    ValueError
        If `device` cannot be used, or if the folder has an activation or a setting that is not
        known or lacks weights.
    """
    place = _best_device() if device is None else _usable_device(device)
    with _quiet():
        transformer = _load_transformer(encoder)
    dense = nn.Sequential(*(_load_dense(encoder.source, path) for path in encoder.dense_paths))
    return Teacher(transformer.to(place), encoder.pooling, dense.float().eval().to(place))


def build_tokenizer(source: Source, path: str) -> Tokenizer:
    """Let transformers build a tokenizer that was published without tokenizer.json.

    Parameters
    ----------
    source : Source
        The model.
    path : str
        Folder of the transformer in it.

    Returns
    -------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.

    Raises
    ------
    ValueError
        If there is none of the fast kind.
    """
    with _quiet():
        auto = AutoTokenizer.from_pretrained(**source.loading(path))
    if not auto.is_fast:
        raise ValueError(f"model={source.model!r} has no fast tokenizer (tokenizer.json).")
    tokenizer: Tokenizer = auto.backend_tokenizer
    return tokenizer


def _load_transformer(encoder: Encoder) -> Any:
    source = encoder.source
    loading = source.loading(encoder.transformer_path)
    config = AutoConfig.from_pretrained(**loading)
    # Of an encoder-decoder only the encoder makes embeddings.
    auto = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    loaded = auto.from_pretrained(config=config, output_loading_info=True, **loading)
    # A class of the model's own may have a loader that gives no such report.
    transformer, report = loaded if isinstance(loaded, tuple) else (loaded, {"missing_keys": ()})
    # A missing weight would be random. BERT's own pooler often is missing, and is not used.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"model={source.model!r} lacks the weights of {', '.join(missing[:3])}.")
    if getattr(transformer.config, "use_cache", False):
        transformer.config.use_cache = False  # of no use without generation
    return transformer.float().eval()


def _load_dense(source: Source, path: str) -> nn.Module:
    settings = source.json(join(path, "config.json"), required=True)
    where = f"model={source.model!r}, Dense module {path!r}"
    if settings.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise ValueError(f"{where}: input {settings['module_input_name']!r} is unsupported.")
    if settings.get("use_residual"):
        raise ValueError(f"{where}: use_residual is unsupported.")
    linear = nn.Linear(
        settings["in_features"], settings["out_features"], settings.get("bias", True)
    )
    safe = source.path(join(path, "model.safetensors"))
    if safe is not None:
        weights = load_file(safe)
    else:
        pickled = source.path(join(path, "pytorch_model.bin"))
        if pickled is None:
            raise OSError(f"{where}: there is neither model.safetensors nor pytorch_model.bin.")
        weights = torch.load(pickled, map_location="cpu", weights_only=True)
    linear.load_state_dict({key.removeprefix("linear."): w for key, w in weights.items()})
    return nn.Sequential(linear, _activation(settings.get("activation_function"), where))


def _activation(name: str | None, where: str) -> nn.Module:
    """Make the activation of a Dense module, torch's own only: a folder must not choose code."""
    if name is None:
        return nn.Tanh()  # sentence-transformers' default
    activation = getattr(nn, name.rpartition(".")[2], None)
    if not (
        name.startswith("torch.nn.")
        and isinstance(activation, type)
        and issubclass(activation, nn.Module)
    ):
        raise ValueError(f"{where}: activation {name!r} is not one of torch.nn's.")
    return activation()


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _usable_device(name: str) -> torch.device:
    """Make sure that tensors can go there and come back."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).numpy(force=True)
    except Exception as error:  # each device has its own
        available = ["cpu"]
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if accelerator is not None:
            n_devices = torch.accelerator.device_count()
            available += [f"{accelerator.type}:{i}" for i in range(n_devices)]
        raise ValueError(
            f"device={name!r} cannot be used; on this machine there are {', '.join(available)}, "
            "and None takes the best of them. "
            f"(torch says: {str(error).partition(chr(10))[0]})"
        ) from error
    return device


# What `_quiet` changes belongs to the process, so one thread at a time.
_quiet_lock = RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings, and transformers' progress bars and load reports, off the terminal."""
    logging: Any = transformers.utils.logging  # it has no types
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        verbosity = logging.get_verbosity()
        had_bar = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if had_bar:
                logging.enable_progress_bar()
