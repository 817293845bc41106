#!/usr/bin/env bash
# For MINUTES minutes, compare generated deliveries with the reference model and kill deliveries at random moments, with
# new ones in each round. Stop at the first difference.
set -euo pipefail
end=$((SECONDS + 60 * ${MINUTES:-30}))
export GENERATED_DELIVERIES=deep RANDOM_CRASHES=10
while ((SECONDS < end)); do
    CRASH_SEED=$RANDOM pytest --quiet --capture=no --hypothesis-seed="$RANDOM" tests/integration/test_generated_deliveries.py tests/integration/test_crashes.py
done
