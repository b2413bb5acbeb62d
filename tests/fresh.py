"""Running code in a process of its own.

What takes seconds there is importing NumPy, scikit-learn and torch, which these tests are not
about. Where it can be done, a process has therefore imported them once, and each call forks it:
the package itself is new to the child, and what depends on the environment follows the child's.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

OPTIONS = ("-W", "always::UserWarning")
# What the package imports in any case.
SKLEARN = ("joblib", "numpy", "scipy.sparse.linalg", "sklearn.decomposition", "sklearn.pipeline")
# What fit imports, with the modules of the tiny teacher.
TORCH = (
    *SKLEARN,
    "sklearn.neighbors",
    "torch",
    "huggingface_hub.hf_api",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
)

SERVER = """
import gc, importlib, json, os, sys, warnings
for name in {modules}:
    importlib.import_module(name)
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
gc.freeze()  # or each child would spend a second on collecting what it never used
while line := sys.stdin.readline():
    if os.fork():
        print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
        continue
    request = json.loads(line)
    for descriptor, path in enumerate((os.devnull, request["output"], request["errors"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[1:1] = request["shadows"]
    importlib.invalidate_caches()
    if "transformers" in sys.modules:  # the modules that read the environment on import
        for name in ("huggingface_hub.constants", "transformers.utils.hub"):
            importlib.reload(sys.modules[name])
        sys.modules["huggingface_hub.hf_api"].api.__init__()
    exec(compile(request["code"], "<string>", "exec"), {{"__name__": "__main__"}})
    sys.stdout.flush()
    os._exit(0)  # without half a second of taking apart what was imported
"""


def run(code: str, *shadows: Path, needs_torch: bool = False, **environment: str) -> str:
    """Run code with these folders first on the path; return what it prints.

    Parameters
    ----------
    code : str
        The code.
    *shadows : Path
        Folders in which packages are found before the installed ones.
    needs_torch : bool, default=False
        Whether the code imports torch. It and transformers are already imported if a process can
        be forked.
    **environment : str
        Changes to the environment.
    """
    folders = list(map(str, shadows))
    variables = os.environ | environment
    if sys.platform != "linux":  # others cannot fork, or not once such libraries are loaded
        paths = [*folders, os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, *OPTIONS, "-c", code],
            capture_output=True,
            text=True,
            env=variables | {"PYTHONPATH": os.pathsep.join(paths)},
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        request = {"code": code, "shadows": folders, "environment": variables}
        request |= {"output": str(output), "errors": str(errors)}
        process = server(TORCH if needs_torch else SKLEARN)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        exit_code = process.stdout.readline().strip()
        printed, said = (path.read_text() if path.exists() else "" for path in (output, errors))
        assert exit_code == "0", f"exit code {exit_code}\n{printed}{said}"
        return printed


@cache
def server(modules: tuple[str, ...]) -> subprocess.Popen[str]:
    """Start a process that has imported modules and forks for each request, until ours ends."""
    return subprocess.Popen(
        [sys.executable, *OPTIONS, "-c", SERVER.format(modules=modules)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
