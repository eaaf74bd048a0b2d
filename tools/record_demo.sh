#!/usr/bin/env bash
# Records the picture of README.md: plays the demo in a terminal of 112x34 and keeps the moment at which the bad version
# is being measured. Needs tmux. Run by hand: tools/record_demo.sh docs/demo.svg
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:?where to write the SVG}
frames=$(mktemp -d)
session="record-$$"
trap 'tmux kill-session -t "$session" 2>/dev/null || true; rm -rf "$frames"' EXIT
tmux new-session -d -s "$session" -x 112 -y 34 "$PWD/.venv/bin/rollout demo; sleep 5"
for number in $(seq -w 1 240); do
    sleep 0.25
    tmux capture-pane -e -p -t "$session" >"$frames/$number.ansi" 2>/dev/null || break
done
best=$(grep -l "Release 2" "$frames"/*.ansi | xargs grep -l " 20 %" | xargs grep -l "AnalysisRun.*Running" | tail -1)
.venv/bin/python - "$best" "$target" <<'PYTHON'
import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

lines = Path(sys.argv[1]).read_text().rstrip().splitlines()
first = next(i for i, line in enumerate(lines) if "Release 2" in line)
console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
console.print(Text.from_ansi("\n".join(lines[first:])))
Path(sys.argv[2]).write_text(console.export_svg(title="rollout demo", font_aspect_ratio=0.61))
PYTHON
echo "wrote $target"
