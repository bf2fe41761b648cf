"""The blocks of CONTRIBUTING.md, by their titles."""

import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))
LONGEST = 60
