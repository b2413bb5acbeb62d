"""The teacher: loads a sentence-transformer and runs token ids through it.

The only module that needs torch and transformers.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import transformers
from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Sequence
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PreTrainedModel,
)

Pooling = Literal["auto", "mean", "cls", "last"]


def _mean_by_position(hidden: Tensor) -> Tensor:
    """Weigh position i (from 1) with i, as sentence-transformers does for decoders."""
    weights = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
    return (hidden * weights[:, None]).sum(1) / weights.sum()


# From outputs (n_texts, length, dimension) without padding to (n_texts, dimension). The names are
# those of sentence-transformers, in the order in which it concatenates several.
_POOL: dict[str, Callable[[Tensor], Tensor]] = {
    "cls": lambda hidden: hidden[:, 0],
    "max": lambda hidden: hidden.amax(1),
    "mean": lambda hidden: hidden.mean(1),
    "mean_sqrt_len_tokens": lambda hidden: hidden.sum(1) / hidden.shape[1] ** 0.5,
    "weightedmean": _mean_by_position,
    "lasttoken": lambda hidden: hidden[:, -1],
}
# The keys of older folders: one flag per mode.
_POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_POOLING_BY_PARAMETER = {"mean": "mean", "cls": "cls", "last": "lasttoken"}


@dataclass(frozen=True)
class Teacher:
    """A loaded sentence-transformer.

    Attributes
    ----------
    transformer : transformers.PreTrainedModel
        The transformers model, in float32 and on its device.
    tokenizer : tokenizers.Tokenizer
        Its tokenizer.
    pooling : tuple of str
        Names of `_POOL`; the results are concatenated.
    dense : torch.nn.Sequential
        The layers behind the pooling; may be empty.
    """

    transformer: PreTrainedModel
    tokenizer: Tokenizer
    pooling: tuple[str, ...]
    dense: nn.Sequential

    @property
    def dimension(self) -> int:
        """Number of dimensions of an output, found by a forward pass of one token."""
        return self._forward(np.zeros((1, 1), dtype=np.int64)).shape[1]

    def outputs(
        self, input_ids: NDArray[np.int64], *, batch_size: int, progress: bool
    ) -> NDArray[np.float32]:
        """Run texts of equal length through the teacher.

        Parameters
        ----------
        input_ids : ndarray of int64, shape (n_texts, length)
            Token ids, special tokens included. Being of one length, they need no padding.
        batch_size : int
            Texts per forward pass.
        progress : bool
            Whether to show a progress bar on standard error.

        Returns
        -------
        outputs : ndarray of float32, shape (n_texts, dimension)
            The pooled outputs behind the dense layers, not normalised.

        Raises
        ------
        ValueError
            If the tokenizer has ids that the transformer does not know, or if an output is not
            finite.
        """
        n_known = self.transformer.get_input_embeddings().num_embeddings
        if input_ids.max() >= n_known:
            raise ValueError(
                f"The tokenizer has token id {input_ids.max()}, but the transformer knows only "
                f"{n_known} tokens: they do not belong together."
            )
        outputs = None
        bar = tqdm(total=len(input_ids), desc="Teacher", unit="token", disable=not progress)
        with _quiet(), bar:
            for start in range(0, len(input_ids), batch_size):
                batch = self._forward(input_ids[start : start + batch_size])
                if outputs is None:
                    outputs = np.empty((len(input_ids), batch.shape[1]), dtype=np.float32)
                outputs[start : start + len(batch)] = batch.numpy(force=True)
                bar.update(len(batch))
        assert outputs is not None  # a vocabulary is never empty
        finite = np.isfinite(outputs).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The teacher's output is not finite for {np.count_nonzero(~finite)} of "
                f"{len(input_ids)} inputs, first for the token ids {input_ids[~finite][0]}."
            )
        return outputs

    @torch.inference_mode()
    def _forward(self, input_ids: NDArray[np.int64]) -> Tensor:
        device = next(self.transformer.parameters()).device
        ids = torch.from_numpy(input_ids).to(device)
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

    def fingerprint(self) -> str:
        """Hash everything that an output depends on.

        Returns
        -------
        fingerprint : str
            SHA-256 in hexadecimal, the same on every device.
        """
        digest = hashlib.sha256(repr((self.transformer, self.pooling, self.dense)).encode())
        config = self.transformer.config.to_dict()
        config.pop("_name_or_path", None)  # where it came from does not matter
        digest.update(repr(sorted(config.items())).encode())
        for module in (self.transformer, self.dense):
            for name, tensor in module.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy(force=True))
        return digest.hexdigest()


def load_teacher(
    model: str,
    *,
    pooling: Pooling,
    revision: str | None,
    device: str | None,
    trust_remote_code: bool,
    local_files_only: bool,
) -> Teacher:
    """Load a sentence-transformers folder or a plain transformers model.

    Parameters
    ----------
    model : str
        Hub name or local folder.
    pooling : {"auto", "mean", "cls", "last"}
        "auto" takes what the folder says, and the mean where it says nothing.
    revision : str or None
        Branch, tag or commit on the hub.
    device : str or None
        A torch device; None takes the best available.
    trust_remote_code : bool
        Whether code that comes with the model may run.
    local_files_only : bool
        Whether to stay off the network.

    Returns
    -------
    teacher : Teacher
        Ready to run.

    Raises
    ------
    OSError
        If there is no such model or a file of it is missing.
    ValueError
        If the folder has a module, an activation or a setting that is not known, or lacks weights.
    """
    source = _Source(model, revision, local_files_only)
    plan = _read_modules(source)
    loading = {
        "subfolder": plan.transformer_path,
        "revision": revision,
        "local_files_only": local_files_only,
    }
    with _quiet():
        tokenizer = _load_tokenizer(source, plan, trust_remote_code, loading)
        transformer = _load_transformer(model, trust_remote_code, loading)
    modes = (_POOLING_BY_PARAMETER[pooling],) if pooling != "auto" else plan.pooling
    dense = nn.Sequential(*(_load_dense(source, path) for path in plan.dense_paths))
    place = torch.device(device) if device is not None else _best_device()
    return Teacher(transformer.to(place), tokenizer, modes, dense.float().eval().to(place))


def _load_transformer(model: str, trust_remote_code: bool, loading: dict[str, Any]) -> Any:
    config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code, **loading)
    # Of an encoder-decoder only the encoder makes embeddings.
    auto = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    loaded = auto.from_pretrained(
        model,
        config=config,
        output_loading_info=True,
        trust_remote_code=trust_remote_code,
        **loading,
    )
    # A class of the model's own may have a loader that gives no such report.
    transformer, report = loaded if isinstance(loaded, tuple) else (loaded, {"missing_keys": ()})
    # A missing weight would be random. BERT's own pooler often is missing, and is not used.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"model={model!r} lacks the weights of {', '.join(missing[:3])}.")
    if getattr(transformer.config, "use_cache", False):
        transformer.config.use_cache = False  # of no use without generation
    return transformer.float().eval()


@dataclass(frozen=True)
class _Source:
    """Where the files of a model come from."""

    model: str
    revision: str | None
    local_files_only: bool

    def path(self, filename: str) -> str | None:
        """Give the local path of a file, fetched if need be; None where there is no such file."""
        if os.path.isdir(self.model):
            path = os.path.join(self.model, filename)
            return path if os.path.exists(path) else None
        try:
            return hf_hub_download(
                self.model,
                filename,
                revision=self.revision,
                local_files_only=self.local_files_only,
            )
        except LocalEntryNotFoundError as error:
            if self._known_to_be_missing(filename):
                return None
            raise self._not_loaded(filename, error) from error
        except EntryNotFoundError:
            return None
        except (OSError, HfHubHTTPError, HFValidationError) as error:
            raise self._not_loaded(filename, error) from error

    def _known_to_be_missing(self, filename: str) -> bool:
        """Tell from the local cache alone, the hub being out of reach."""
        cached = try_to_load_from_cache(self.model, filename, revision=self.revision)
        if cached is _CACHED_NO_EXIST:  # the hub was asked before, and had none
            return True
        # Whoever fetched modules.json fetched all of the model.
        modules = try_to_load_from_cache(self.model, "modules.json", revision=self.revision)
        return isinstance(modules, str)

    def _not_loaded(self, filename: str, error: Exception) -> OSError:
        where = "the local cache (local_files_only=True)" if self.local_files_only else "the hub"
        return OSError(
            f"model={self.model!r} is not a local folder, and its {filename} could not be loaded "
            f"from {where}: {error}"
        )

    def json(self, filename: str, *, required: bool = False) -> Any:
        """Parse a JSON file; None where there is no such file."""
        path = self.path(filename)
        if path is None:
            if required:
                raise OSError(f"model={self.model!r} has no file {filename}.")
            return None
        with open(path, encoding="utf-8") as file:
            return json.load(file)


@dataclass(frozen=True)
class _Plan:
    """What modules.json says, less what does not matter to a token."""

    transformer_path: str = ""
    lowercase: bool = False
    pooling: tuple[str, ...] = ("mean",)
    dense_paths: tuple[str, ...] = ()


# The file's name is that of the class which once wrote it.
_TRANSFORMER_SETTINGS = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]


def _read_modules(source: _Source) -> _Plan:
    modules = source.json("modules.json")
    if modules is None:
        return _Plan()
    settings: dict[str, Any] = {}
    pooling: tuple[str, ...] = ("mean",)
    dense_paths = []
    kinds = []
    for module in modules:
        path = module["path"]
        # By the class name alone: its module moved between versions of sentence-transformers.
        package, _, kind = module["type"].partition(".")
        kind = kind.rpartition(".")[2] if package == "sentence_transformers" else ""
        if kind == "Transformer":
            found = (source.json(_join(path, name)) for name in _TRANSFORMER_SETTINGS)
            settings = next(filter(None, found), {})
        elif kind == "Pooling":
            pooling = _pooling_modes(source.json(_join(path, "config.json"), required=True))
        elif kind == "Dense":
            dense_paths.append(path)
        elif kind not in ("Normalize", "Dropout"):  # dropout is off
            raise ValueError(
                f"model={source.model!r} has a module {module['type']!r} that is not known; known "
                "are Transformer, Pooling, Dense, Normalize and Dropout of sentence-transformers."
            )
        kinds.append(kind)
    # The length of a token's vector matters, so a Normalize at the end is left out.
    plain = [kind for kind in kinds if kind != "Dropout"]
    body = plain[:-1] if plain[-1:] == ["Normalize"] else plain
    if body != ["Transformer", "Pooling", *["Dense"] * len(dense_paths)]:
        raise ValueError(
            f"model={source.model!r} has the modules {', '.join(kinds)}; known is the order "
            "Transformer, Pooling, any number of Dense, and Normalize or nothing."
        )
    return _Plan(
        modules[kinds.index("Transformer")]["path"],
        bool(settings.get("do_lower_case", False)),
        pooling,
        tuple(dense_paths),
    )


def _pooling_modes(settings: dict[str, Any]) -> tuple[str, ...]:
    named = settings.get("pooling_mode")
    if named is None:
        modes = tuple(mode for flag, mode in _POOLING_FLAGS.items() if settings.get(flag))
    else:
        modes = (named,) if isinstance(named, str) else tuple(named)
    unknown = set(modes) - set(_POOL)
    if unknown:
        raise ValueError(f"Pooling {unknown.pop()!r} is not known; known are {', '.join(_POOL)}.")
    return modes or ("mean",)


def _load_tokenizer(
    source: _Source, plan: _Plan, trust_remote_code: bool, loading: dict[str, Any]
) -> Tokenizer:
    """Load the tokenizer as it was published.

    From version 5 on, transformers may rebuild the normalizer and the pre-tokenizer by class and
    drop what tokenizer.json says of them; so it is asked only where there is no such file.
    """
    path = source.path(_join(plan.transformer_path, "tokenizer.json"))
    if path is None:
        auto = AutoTokenizer.from_pretrained(
            source.model, trust_remote_code=trust_remote_code, **loading
        )
        if not auto.is_fast:
            raise ValueError(f"model={source.model!r} has no fast tokenizer (tokenizer.json).")
        backend: Tokenizer = auto.backend_tokenizer
    else:
        backend = Tokenizer.from_file(path)
        settings = source.json(_join(plan.transformer_path, "tokenizer_config.json")) or {}
        lowercase = settings.get("do_lower_case")
        if lowercase is not None and isinstance(backend.normalizer, BertNormalizer):
            backend.normalizer.lowercase = lowercase  # as transformers has it, old and new
    if plan.lowercase:
        first = [Lowercase()]
        backend.normalizer = Sequence(first + ([backend.normalizer] if backend.normalizer else []))
    return backend


def _load_dense(source: _Source, path: str) -> nn.Module:
    settings = source.json(_join(path, "config.json"), required=True)
    where = f"model={source.model!r}, Dense module {path!r}"
    if settings.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise ValueError(f"{where}: input {settings['module_input_name']!r} is not known.")
    if settings.get("use_residual"):
        raise ValueError(f"{where}: use_residual is not supported.")
    linear = nn.Linear(
        settings["in_features"], settings["out_features"], settings.get("bias", True)
    )
    safe = source.path(_join(path, "model.safetensors"))
    if safe is not None:
        weights = load_file(safe)
    else:
        pickled = source.path(_join(path, "pytorch_model.bin"))
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


def _join(path: str, filename: str) -> str:
    return f"{path}/{filename}" if path else filename


def _best_device() -> torch.device:
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings, and transformers' progress bars and load reports, off the terminal."""
    logging: Any = transformers.utils.logging  # it has no types
    verbosity = logging.get_verbosity()
    had_bar = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()
