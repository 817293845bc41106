#!/usr/bin/env bash
# Install Debian's chromium for the tests of pages, if it is missing and the user is root. Without it they are skipped.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" > /dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing chromium, in which the tests look at the quality report's page"
    { apt-get update -qq && apt-get install -yqq --no-install-recommends chromium; } > /dev/null 2>&1 && exit 0
fi
echo "without Chromium the tests of pages in a browser are skipped; on Debian or Ubuntu: sudo apt-get install chromium"
