"""Running code in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path


def run(code: str, *shadows: Path, **environment: str) -> str:
    """Run code with these folders first on the path; return what it prints."""
    paths = [*map(str, shadows), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "always::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
