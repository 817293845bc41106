#!/usr/bin/env bash
# Play generated deliveries against the reference model for MINUTES minutes, new ones each round; stop at a difference.
set -euo pipefail
end=$((SECONDS + 60 * ${MINUTES:-30}))
export GENERATED_DELIVERIES=deep
while ((SECONDS < end)); do
    pytest --quiet --capture=no --hypothesis-seed="$RANDOM" tests/reference
done
