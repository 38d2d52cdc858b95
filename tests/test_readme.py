"""The README's Python runs as printed."""

import re
from pathlib import Path

import pytest


README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_there_are_examples():
    assert BLOCKS


@pytest.mark.parametrize("code", BLOCKS)
def test_python_block_runs(code):
    exec(compile(code, str(README), "exec"), {})
