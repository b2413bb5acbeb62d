"""Damaged models: an exception or the right features, never a crash, a hang or silent nonsense.

``python tests/fuzz.py --rounds 2000`` damages as many folders and as many joblib files (`make
fuzz`); `test_fuzz` does some dozens. A damaged joblib file may give other features and raise
anything, as any damaged pickle may; a damaged folder raises a ValueError or OSError. The folder of
a teacher has no checksum, so its features may change.
"""

import argparse
import faulthandler
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from teachers import save_sentence_transformer, write_json

from sklearn_static import StaticEmbeddingVectorizer

SECONDS_TO_HANG = 60
TEXTS = ["the list of names", "\u2603 return the value", "", "a, b; [SEP] c " * 40]
JUNK = [None, True, -1, 10**12, 1.5, "", "x", [], {}, [1, 2], {"a": 1}, float("nan")]


def damage_bytes(content: bytes, random: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite."""
    if not content:
        return content
    place = random.randrange(len(content))
    kind = random.choice(("flip", "flip", "flips", "cut", "zeros", "repeat", "drop"))
    if kind == "cut":
        return content[:place]
    if kind == "drop":
        return content[:place] + content[place + random.randint(1, 64) :]
    if kind == "repeat":
        return content[:place] + content[place : place + 64] + content[place:]
    changed = bytearray(content)
    if kind == "zeros":
        changed[place : place + 64] = bytes(len(changed[place : place + 64]))
    for _ in range({"flip": 1, "flips": 16}.get(kind, 0)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def damage_json(content: bytes, random: random.Random) -> bytes:
    """Remove, retype or nest a random entry."""
    root = json.loads(content)
    if random.random() < 0.05:
        return b"[" * 100_000 + content + b"]" * 100_000
    node = root
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return content
        key = random.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and random.random() < 0.7:
            node = node[key]
            continue
        if random.random() < 0.5:
            del node[key]
        else:
            node[key] = random.choice(JUNK)
        return json.dumps(root).encode()


def damage_folder(folder: Path, random: random.Random) -> str:
    """Damage one or two files of a folder."""
    done = []
    for _ in range(random.choice((1, 1, 2))):
        file = random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
        content = file.read_bytes()
        change: Callable[[bytes, random.Random], bytes] = damage_bytes
        if file.suffix == ".json" and random.random() < 0.6:
            change = damage_json
        try:
            file.write_bytes(change(content, random))
        except (ValueError, RecursionError):  # it was no longer JSON
            file.write_bytes(damage_bytes(content, random))
        done.append(f"{change.__name__} {file.name}")
    return ", ".join(done)


def outcome(
    load: Callable[[], StaticEmbeddingVectorizer],
    expected: np.ndarray,
    errors: tuple[type[Exception], ...] = (Exception,),
) -> str:
    """Return the outcome of a load and a transform; an error of another kind is capitalized."""
    faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True)
    try:
        features = load().transform(TEXTS)
    except (KeyboardInterrupt, SystemExit):
        raise
    except errors as error:
        return type(error).__name__
    except BaseException:
        # A panic of Rust code is not a subclass of Exception.
        traceback.print_exc()
        return "ERROR"
    finally:
        faulthandler.cancel_dump_traceback_later()
    same = features.shape == expected.shape and np.allclose(features, expected, atol=1e-6)
    return "right" if same else "WRONG"


def damage_teachers(root: Path, rounds: int, seed: int) -> bool:
    """Fit to damaged folders of a teacher; return whether one raised an unexpected error."""
    teacher = save_sentence_transformer("bert", root / "whole_teacher", dense={})
    settings = {"prompts": {"query": "the "}, "default_prompt_name": "query"}
    write_json(teacher / "config_sentence_transformers.json", settings)
    outcomes: Counter[str] = Counter()
    for i in range(rounds):
        draw = random.Random(f"{seed} teacher {i}")
        copy = root / "copied_teacher"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(teacher, copy)
        what = damage_folder(copy, draw)
        vectorizer = StaticEmbeddingVectorizer(copy, n_components=8, memory=None, device="cpu")
        result = outcome(lambda v=vectorizer: v.fit(TEXTS), np.empty(0), (ValueError, OSError))
        outcomes["any features" if result == "WRONG" else result] += 1
        if result == "ERROR":
            print(f"teacher, round {i}: {what}")
    print("teachers:", dict(outcomes.most_common()), flush=True)
    return bool(outcomes["ERROR"])


def main() -> None:
    """Count the outcomes; fail on a wrong one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    failed = False
    with tempfile.TemporaryDirectory() as root:
        teacher = save_sentence_transformer("bert", Path(root, "teacher"))
        for quantize in (None, "int8"):
            vectorizer = StaticEmbeddingVectorizer(
                teacher, n_components=8, quantize=quantize, memory=None
            ).fit(TEXTS)
            expected = vectorizer.transform(TEXTS)
            whole = Path(root, "whole")
            vectorizer.save_pretrained(whole)
            joblib.dump(vectorizer, Path(root, "whole.joblib"))
            folders: Counter[str] = Counter()
            files: Counter[str] = Counter()
            for i in range(options.rounds // 2):
                draw = random.Random(f"{options.seed} {quantize} {i}")
                copy = Path(root, "copy")
                shutil.copytree(whole, copy, dirs_exist_ok=True)
                what = damage_folder(copy, draw)
                result = outcome(
                    lambda copy=copy: StaticEmbeddingVectorizer.from_pretrained(copy),
                    expected,
                    (ValueError, OSError),
                )
                folders[result] += 1
                if result.isupper():
                    print(f"{quantize}, round {i}: {what}: {result}")
                    failed = True
                file = Path(root, "copy.joblib")
                file.write_bytes(damage_bytes(Path(root, "whole.joblib").read_bytes(), draw))
                result = outcome(lambda file=file: joblib.load(file), expected)
                files["other" if result == "WRONG" else result] += 1
            print(f"quantize={quantize}")
            print("  folders:", dict(folders.most_common()))
            print("  files:  ", dict(files.most_common()), flush=True)
        failed |= damage_teachers(Path(root), options.rounds // 4, options.seed)
    sys.exit(failed)


if __name__ == "__main__":
    main()
