#!/usr/bin/env bash
# Run the DAG once, as `make run` does; Airflow's own words go to a file, since they are many.
set -uo pipefail
log=.airflow/run.log
echo "running: airflow dags test lc_pipeline ${*:-}  (log: $log)"
airflow dags test lc_pipeline "$@" > "$log" 2>&1
status=$?
python -m include.quality.summary || tail -n 40 "$log"
[ $status -eq 0 ] || echo "the run failed: see $log" >&2
exit $status
