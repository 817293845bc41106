#!/usr/bin/env bash
# Open the newest quality report's page where there is a desktop; print its path in any case.
set -euo pipefail
page=$(python -m include.quality.page)
echo "$page"
if [ "$(uname)" = Darwin ]; then
    open "$page"
elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open > /dev/null; then
    xdg-open "$page" > /dev/null 2>&1
fi
