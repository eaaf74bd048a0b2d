"""Copies integrations/release.sh to where pipelines cannot reach it: GitLab's component, Jenkins' shared library.

.venv/bin/python tools/integrations.py     # after a change of the script; a test compares
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1] / "integrations"
SCRIPT = ROOT / "release.sh"
GITLAB = ROOT / "gitlab" / "templates" / "release.yml"
JENKINS = ROOT / "jenkins" / "resources" / "surefoot" / "release.sh"
_BODY = re.compile(r"(?<=<<'SUREFOOT_SCRIPT'\n).*?(?=^      SUREFOOT_SCRIPT$)", re.DOTALL | re.MULTILINE)


def wanted() -> dict[Path, str]:
    """What the files with copies must be."""
    script = SCRIPT.read_text(encoding="utf-8")
    indented = "".join(f"      {line}" if line.strip() else line for line in script.splitlines(keepends=True))
    template = GITLAB.read_text(encoding="utf-8")
    return {JENKINS: script, GITLAB: _BODY.sub(lambda _: indented, template)}


if __name__ == "__main__":
    for path, text in wanted().items():
        path.write_text(text, encoding="utf-8")
