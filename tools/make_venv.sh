#!/usr/bin/env bash
# Makes the virtual environment from the lock file: make_venv.sh PYTHON DIRECTORY
set -euo pipefail
python=$1 venv=$2
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Surefoot needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1 || echo missing)." >&2
    echo "Install one and say so: make PYTHON=python3.12 ..." >&2
    exit 2
fi
if [ ! -x "$venv/bin/pip" ] && ! "$python" -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    # Debian ships venv without pip unless python3-venv is installed; virtualenv brings its own.
    if ! "$python" -m virtualenv -q "$venv" 2>/dev/null; then
        echo "Cannot make a virtual environment with '$python'." >&2
        echo "On Debian and Ubuntu: sudo apt-get install python3-venv (or: pip install --user virtualenv)" >&2
        exit 2
    fi
fi
echo "Installing the locked packages into $venv (a minute the first time) ..."
"$venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
