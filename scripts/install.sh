#!/usr/bin/env bash
# Create .venv with exactly the packages of requirements.lock, from a plain Python 3.11, 3.12 or 3.13.
set -euo pipefail
cd "$(dirname "$0")/.."

supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
python=
for candidate in "${PYTHON:-}" python3.12 python3.13 python3.11 python3; do
    if [ -n "$candidate" ] && "$candidate" -c "$supported" 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "error: Python 3.11, 3.12 or 3.13 is needed and none was found; install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2
    exit 1
fi

if ! { [ -x .venv/bin/python ] && .venv/bin/python -c "$supported" 2>/dev/null; }; then
    echo "making .venv with $("$python" --version)"
    if ! "$python" -c "import ensurepip" 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        echo "installing python3-venv, without which Debian's Python can't make virtual environments"
        { apt-get update -qq && apt-get install -yqq --no-install-recommends python3-venv; } > /dev/null
    fi
    if ! "$python" -m venv --clear .venv > /dev/null 2>&1; then
        rm -rf .venv
        echo "error: $python can't make virtual environments; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2
        exit 1
    fi
fi

echo "installing what requirements.lock pins (about 1.5 GB; a minute or two the first time)"
if ! [ -x .venv/bin/uv ]; then
    locked_uv=$(mktemp)
    trap 'rm -f "$locked_uv"' EXIT
    awk '/^uv==/ { found = 1 } found { print; if (!/\\$/) exit }' requirements.lock > "$locked_uv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$locked_uv"
fi
# Without compiled bytecode every start of Airflow takes twice as long.
.venv/bin/uv pip sync --quiet --require-hashes --compile-bytecode --python .venv/bin/python requirements.lock
touch .venv/.installed
