#!/usr/bin/env bash
# Run the DAG once, as `make run` does. Airflow's long log goes to a file, the progress of the tasks to stderr.
set -uo pipefail
log=.airflow/run.log
echo "running: airflow dags test lc_pipeline ${*:-}  (log: $log)"
python -m scripts.dags_test "$log" "$@"
status=$?
python -m include.quality.summary || tail -n 40 "$log"
[ $status -eq 0 ] || echo "the run failed: see $log" >&2
exit $status
