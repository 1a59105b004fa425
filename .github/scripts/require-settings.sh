#!/usr/bin/env bash
# Names every setting that is empty, all at once, before a job changes anything.
set -euo pipefail
missing=()
for name in "$@"; do
    [[ -n ${!name:-} ]] || missing+=("$name")
done
if ((${#missing[@]})); then
    echo "::error::Set these as secrets or variables of the repository or of its environment: ${missing[*]}"
    exit 1
fi
