"""`python -m analysis.load ARGUMENTS...`: become locust with our locustfile. The entry point of the image surefoot/load.

A user's own locustfile comes in an environment variable and is put into the working directory, which is the pod's own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from analysis.load.plan import LOCUSTFILE_VARIABLE

USER_FILE = "user_locustfile.py"


def main() -> None:
    if importlib.util.find_spec("locust") is None:
        sys.exit("locust is not installed here; pip install 'surefoot[load]'")
    files = [str(Path(__file__).with_name("locustfile.py"))]
    if text := os.environ.get(LOCUSTFILE_VARIABLE):
        path = Path(USER_FILE).absolute()
        path.write_text(text)
        files.append(str(path))
    argv = [sys.executable, "-m", "locust", "-f", ",".join(files), *sys.argv[1:]]
    os.execv(sys.executable, argv)  # noqa: S606 - no shell, and every argument is ours


if __name__ == "__main__":
    main()
