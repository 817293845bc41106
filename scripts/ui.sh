#!/usr/bin/env bash
# Start Airflow's scheduler, DAG processor, triggerer and API server, with the UI on loopback, until Ctrl-C.
set -euo pipefail
export AIRFLOW__API__PORT=$PORT
export AIRFLOW__API__BASE_URL="http://localhost:$PORT"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://localhost:$PORT/execution/"
python -m include.dbt.docs || echo "dbt docs: not updated"
echo "Airflow's UI will be at http://localhost:$PORT/dags/lc_pipeline (a minute); unpause the DAG there, or trigger it"
exec airflow standalone
