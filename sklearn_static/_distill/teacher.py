"""The teacher: loading a sentence-transformer's weights and running it on token ids.

This is the only module that needs torch.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import shorten
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
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)

from sklearn_static._distill.states import pack
from sklearn_static._distill.teacher_files import Encoder
from sklearn_static._formats.hub import Source, join
from sklearn_static._sklearn import parse_version


def _mean_by_position(hidden: Tensor) -> Tensor:
    """Weight position i (counted from 1) by i, as sentence-transformers does for decoders."""
    weights = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
    return (hidden * weights[:, None]).sum(1) / weights.sum()


# From outputs (n_inputs, length, dimension) without padding to (n_inputs, dimension).
_POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda hidden: hidden[:, 0],
    "max": lambda hidden: hidden.amax(1),
    "mean": lambda hidden: hidden.mean(1),
    "mean_sqrt_len_tokens": lambda hidden: hidden.sum(1) / hidden.shape[1] ** 0.5,
    "weightedmean": _mean_by_position,
    "lasttoken": lambda hidden: hidden[:, -1],
}
# The argument of `from_pretrained` was renamed.
_DTYPE = (
    "dtype" if parse_version(transformers.__version__) >= parse_version("4.56") else "torch_dtype"
)
# Bounds the memory of a forward pass: the maximum number of tokens per input of a full batch.
_TOKENS_PER_INPUT = 32


@dataclass(frozen=True)
class Teacher:
    """A loaded sentence-transformer.

    Attributes
    ----------
    transformer : transformers.PreTrainedModel
        The model of transformers, in float32 and on its device.
    pooling : tuple of str
        Keys of `_POOL`, whose results are concatenated.
    dense : torch.nn.Sequential
        The dense layers after the pooling; may be empty.
    """

    transformer: PreTrainedModel
    pooling: tuple[str, ...]
    dense: nn.Sequential

    @property
    def _n_known(self) -> int | None:
        """Number of ids; None if a class that comes with the model does not say it."""
        try:
            embeddings: Any = self.transformer.get_input_embeddings()
            return int(embeddings.num_embeddings)
        except (NotImplementedError, AttributeError):
            return None

    def outputs(
        self, input_ids: NDArray[np.integer[Any]], batch_size: int, *, with_states: bool = False
    ) -> NDArray[Any]:
        """Run the teacher on inputs of equal length.

        Parameters
        ----------
        input_ids : ndarray of int, shape (n_inputs, length)
            Token ids, including special tokens. Equal lengths need no padding, so an output does
            not depend on the other inputs of its batch.
        batch_size : int
            Inputs per forward pass; fewer if they are longer than 32 tokens.
        with_states : bool, default=False
            Whether to add the states of the tokens: what the output would be if only one of them
            were pooled. Only for a single pooling.

        Returns
        -------
        outputs : ndarray of float32, shape (n_inputs, dimension)
            The pooled outputs after the dense layers, not normalized; with their states the result
            of `pack`.

        Raises
        ------
        ValueError
            If an id exceeds the transformer's vocabulary, if a setting in config.json is unusable,
            or if an output is not finite.
        """
        n_known = self._n_known
        if n_known is not None and input_ids.max() >= n_known:
            raise ValueError(
                f"The tokenizer has token id {input_ids.max()}, but the transformer has only "
                f"{n_known} tokens: they do not belong together."
            )
        step = max(1, min(batch_size, batch_size * _TOKENS_PER_INPUT // input_ids.shape[1]))
        parts: list[NDArray[np.float32]] = []
        packed: list[NDArray[np.uint8]] = []
        for i in range(0, len(input_ids), step):
            part, states = self._forward(input_ids[i : i + step], with_states=with_states)
            parts.append(part)
            if states is not None:
                packed.append(pack(part, states))
        outputs = np.concatenate(parts)
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The teacher's output is not finite for {np.count_nonzero(~finite)} of "
                f"{len(input_ids)} inputs, first for the token ids {input_ids[~finite][0]}."
            )
        return np.concatenate(packed) if packed else outputs

    @torch.inference_mode()
    def _forward(
        self, input_ids: NDArray[np.integer[Any]], *, with_states: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        device = next(self.transformer.parameters()).device
        ids = torch.from_numpy(input_ids.astype(np.int64)).to(device)
        # Without a mask, a token that is also the padding token would be ignored.
        try:
            hidden = self.transformer(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        except (TypeError, AttributeError, LookupError) as error:  # not a lack of memory
            raise ValueError(
                f"The teacher cannot be run ({type(error).__name__}: {shorten(str(error), 300)}); "
                "its config.json or the code that comes with it may be damaged: download it again."
            ) from error
        pooled = torch.cat([_POOL[mode](hidden) for mode in self.pooling], dim=1)
        first = next((m for m in self.dense.modules() if isinstance(m, nn.Linear)), None)
        if first is not None and first.in_features != pooled.shape[1]:
            raise ValueError(
                f"Pooling {'+'.join(self.pooling)} gives {pooled.shape[1]} dimensions, but the "
                f"teacher's Dense module takes {first.in_features}; use pooling='auto'."
            )
        outputs: NDArray[np.float32] = self.dense(pooled).numpy(force=True)
        if not with_states:
            return outputs, None
        return outputs, self.dense(hidden).numpy(force=True)


def load_teacher(encoder: Encoder, device: str | None) -> Teacher:
    """Load the weights of a teacher.

    Parameters
    ----------
    encoder : Encoder
        The teacher's files.
    device : str or None
        The torch device; None takes the best available.

    Returns
    -------
    teacher : Teacher
        The teacher on its device.

    Raises
    ------
    OSError
        If a file is missing.
    ValueError
        If `device` cannot be used, or if the model has an unsupported activation or setting or
        lacks weights.
    """
    place = _best_device() if device is None else _usable_device(device)
    with _quiet():
        transformer = _load_transformer(encoder)
    layers = [_load_dense(encoder.source, path) for path in encoder.dense_paths]
    _check_chain(encoder.source, encoder.dense_paths, layers)
    dense = nn.Sequential(*layers).eval().to(place)
    return Teacher(transformer.to(place), encoder.pooling, dense)


def build_tokenizer(source: Source, path: str) -> Tokenizer:
    """Build a tokenizer that was published without tokenizer.json, with transformers.

    Parameters
    ----------
    source : Source
        The model.
    path : str
        Folder of the transformer in `source`.

    Returns
    -------
    tokenizer : tokenizers.Tokenizer
        The tokenizer.

    Raises
    ------
    ValueError
        If the model has no fast tokenizer.
    """
    with _quiet(), _explained(source, path):
        auto = AutoTokenizer.from_pretrained(**source.loading(path))
    if not auto.is_fast:
        raise ValueError(f"model={source.model!r} has no fast tokenizer (tokenizer.json).")
    tokenizer: Tokenizer = auto.backend_tokenizer
    return tokenizer


@contextmanager
def _explained(source: Source, path: str) -> Iterator[None]:
    """Say which files are damaged, as transformers may raise anything."""
    try:
        yield
    except (OSError, ValueError, ImportError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = shorten(str(error), 300)
        raise ValueError(
            f"model={source.model!r}: transformers cannot load {join(path, 'config.json')} and the "
            f"weights beside it ({type(error).__name__}: {reason}); download the model again."
        ) from error


def _auto_class(source: Source, config: PretrainedConfig) -> Any:
    """Choose the class that loads a model which computes embeddings of text alone."""
    whole = MODEL_MAPPING.get(type(config), None)
    # The flag of an encoder-decoder does not tell: an encoder of T5 may be saved without it.
    if MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), whole) is not whole:
        return AutoModelForTextEncoding
    kind = None
    if config.is_encoder_decoder:
        kind = "an encoder-decoder, of which transformers has no class for the encoder alone"
    elif hasattr(whole, "get_text_features"):
        kind = "a model of texts and images or sounds, which does not run on texts alone"
    if kind is not None:
        raise ValueError(
            f"model={source.model!r} is {kind} (model_type {config.model_type!r}); pass a "
            "sentence-transformer, or a transformers encoder or decoder of texts."
        )
    return AutoModel


def _load_transformer(encoder: Encoder) -> Any:
    source = encoder.source
    loading = source.loading(encoder.transformer_path)
    with _explained(source, encoder.transformer_path):
        config = AutoConfig.from_pretrained(**loading)
        loaded = _auto_class(source, config).from_pretrained(
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **{_DTYPE: torch.float32},
            **loading,
        )
    # A custom class may have a loader without such a report.
    transformer, report = loaded if isinstance(loaded, tuple) else (loaded, {"missing_keys": ()})
    # Missing weights would be random. BERT's own pooler is often missing, but is not used.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"model={source.model!r} lacks the weights of {', '.join(missing[:3])}.")
    for mismatch in report.get("mismatched_keys", ()):
        # Some versions of transformers report the two shapes, too.
        key, *shapes = (mismatch,) if isinstance(mismatch, str) else mismatch
        found = f" {tuple(shapes[0])} instead of {tuple(shapes[1])}" if shapes else ""
        raise ValueError(
            f"model={source.model!r}: the weights of {key} have another shape{found} than "
            f"{join(encoder.transformer_path, 'config.json')} describes; they do not belong "
            "together."
        )
    if getattr(transformer.config, "use_cache", False):
        transformer.config.use_cache = False  # useless without generation
    # A custom class may load in another type. Otherwise it is float32 from the beginning, as
    # buffers that are once rounded, such as Gemma's scale of embeddings, remain so.
    return transformer.float().eval()


def _load_dense(source: Source, path: str) -> nn.Sequential:
    settings = source.settings(join(path, "config.json"), required=True)
    where = f"model={source.model!r}, Dense module {path!r}"
    kind = settings.text("module_input_name", "sentence_embedding")
    if kind != "sentence_embedding":
        raise ValueError(
            f"{where}: module_input_name={kind!r} is unsupported; supported: 'sentence_embedding'."
        )
    if settings.flag("use_residual"):
        raise ValueError(f"{where}: use_residual=True is unsupported; supported: False.")
    n_inputs, n_outputs = settings.required("in_features"), settings.required("out_features")
    weights = _dense_weights(source, path, where)
    expected: dict[str, tuple[int, ...]] = {"weight": (n_outputs, n_inputs)}
    if settings.flag("bias", default=True):
        expected["bias"] = (n_outputs,)
    found = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    if found != expected:  # before memory is allocated for them
        raise ValueError(
            f"{where}: its config.json describes weights of the shapes {expected}, but the file "
            f"has {found}; they do not belong together."
        )
    linear = nn.Linear(n_inputs, n_outputs, "bias" in expected)
    linear.load_state_dict(weights)
    return nn.Sequential(linear, _activation(settings.text("activation_function"), where))


def _dense_weights(source: Source, path: str, where: str) -> dict[str, Tensor]:
    safe = source.path(join(path, "model.safetensors"))
    file = safe or source.path(join(path, "pytorch_model.bin"))
    if file is None:
        raise OSError(f"{where} has neither model.safetensors nor pytorch_model.bin.")
    try:
        weights = load_file(file) if safe else torch.load(file, "cpu", weights_only=True)
        return {key.removeprefix("linear."): tensor.float() for key, tensor in weights.items()}
    except (OSError, MemoryError):
        raise
    except Exception as error:  # both libraries may raise anything
        reason = shorten(str(error), 300)
        raise ValueError(
            f"{where}: {file} is damaged ({type(error).__name__}: {reason}); download it again."
        ) from error


def _check_chain(source: Source, paths: Sequence[str], layers: Sequence[nn.Sequential]) -> None:
    """Raise if a Dense module does not take what the one before it gives."""
    for path, before, layer in zip(paths[1:], layers, layers[1:], strict=False):
        given, taken = before[0].out_features, layer[0].in_features
        if given != taken:
            raise ValueError(
                f"model={source.model!r}, Dense module {path!r}: in_features={taken} must be "
                f"{given}, the out_features of the Dense module before it; correct its config.json."
            )


def _activation(name: str | None, where: str) -> nn.Module:
    """Create the activation of a Dense module: only torch's own, so that no other code can run."""
    if name is None:
        return nn.Tanh()  # sentence-transformers' default
    kind = getattr(nn, name.rpartition(".")[2], None)
    is_activation = kind is nn.Identity or getattr(kind, "__module__", "") == nn.Tanh.__module__
    try:
        if not (name.startswith("torch.nn.") and isinstance(kind, type) and is_activation):
            raise TypeError
        activation: nn.Module = kind()
    except TypeError as error:  # such as one with parameters, which the folder does not have
        raise ValueError(
            f"{where}: activation {name!r} is unsupported; supported: those of torch.nn without "
            "required arguments."
        ) from error
    return activation


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _usable_device(name: str) -> torch.device:
    """Check that tensors can be moved to a device and back."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).numpy(force=True)
    except Exception as error:  # its class depends on the device
        available = ["cpu"]
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if accelerator is not None:
            n_devices = torch.accelerator.device_count()
            available += [f"{accelerator.type}:{i}" for i in range(n_devices)]
        raise ValueError(
            f"device={name!r} cannot be used; available on this machine: {', '.join(available)}. "
            "None takes the best of these. "
            f"(torch says: {str(error).partition(chr(10))[0]})"
        ) from error
    return device


# `_quiet` changes state of the whole process, so only one thread may enter it at a time.
_quiet_lock = RLock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress warnings, and the progress bars and load reports of transformers."""
    logging: Any = transformers.utils.logging  # not typed
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
