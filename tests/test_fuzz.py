import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_damaged_models_are_right_or_refused():
    """A short version of `make fuzz`."""
    script = Path(__file__).parent / "fuzz.py"
    done = subprocess.run(
        [sys.executable, str(script), "--rounds", "120"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'right'" in done.stdout
    assert "'ValueError'" in done.stdout
