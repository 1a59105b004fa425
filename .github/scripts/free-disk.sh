#!/usr/bin/env bash
# A standard runner has too little space for the training image: what this project never uses goes.
set -euo pipefail
df -h / | tail -n 1
sudo rm -rf /usr/local/lib/android /usr/share/dotnet /opt/ghc /usr/local/.ghcup /usr/share/swift \
    /opt/hostedtoolcache/CodeQL /usr/local/share/boost /usr/local/share/powershell
sudo docker image prune --all --force > /dev/null
df -h / | tail -n 1
