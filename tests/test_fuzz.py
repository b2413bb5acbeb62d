from pathlib import Path

import pytest
from fresh import run


@pytest.mark.slow
def test_damaged_models_are_right_or_refused():
    """A short version of `make fuzz`."""
    script = Path(__file__).parent / "fuzz.py"
    code = f"""
import runpy, sys
sys.path.insert(0, {str(script.parent)!r})
sys.argv = ["fuzz.py", "--rounds", "120"]
runpy.run_path({str(script)!r}, run_name="__main__")
"""
    printed = run(code, needs_torch=True)
    assert "'right'" in printed
    assert "'ValueError'" in printed
