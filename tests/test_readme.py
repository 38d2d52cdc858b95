"""The README's Python runs as printed, from top to bottom."""

import re
from pathlib import Path


README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_python_blocks_run(tmp_path, monkeypatch):
    assert BLOCKS
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in BLOCKS:
        exec(compile(code, str(README), "exec"), names)
    assert (tmp_path / "profiles" / "ann" / "profile.json").is_file()
