#!/usr/bin/env bash
# The tests of the federation, with a real server and two real clients on this machine, in an environment of their own
# under target/. Builds nothing: the binary touchstone-tools is $TOUCHSTONE_TOOLS, or the one in target/release.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$(realpath "${TOUCHSTONE_TOOLS:-target/release/touchstone-tools}")
[ -x "$tools" ] || { echo "test.sh: no $tools: cargo build --release -p touchstone-tools" >&2; exit 2; }
venv=target/federated-venv
if ! [ -x "$venv/bin/pytest" ]; then
    python3 -m venv "$venv" 2>/dev/null || {
        # Debian leaves the module out of its python3.
        rm -rf "$venv"
        apt-get install -y -qq python3-venv >/dev/null
        python3 -m venv "$venv"
    }
    "$venv/bin/pip" install -q -r tools/federated/requirements.txt
fi
TOUCHSTONE_TOOLS=$tools exec "$venv/bin/python" -m pytest -q tools/federated/tests "$@"
