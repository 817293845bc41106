#!/usr/bin/env bash
# Bring Airflow's own database up to date: what AIRFLOW__DATABASE__SQL_ALCHEMY_CONN names, or SQLite in .airflow.
# A database that has been brought up to date since the last installation is left alone, since asking Airflow takes 2 s.
set -euo pipefail
database=$(env | grep '^AIRFLOW__DATABASE__' | sort | cksum | tr ' ' -) || true
stamp=$AIRFLOW_HOME/.migrated-$database
[ "$stamp" -nt .venv/.installed ] && exit
echo "setting up Airflow's database (log: ${AIRFLOW_HOME#"$PWD"/}/migrate.log)"
mkdir -p "$AIRFLOW_HOME"
airflow db migrate > "$AIRFLOW_HOME/migrate.log" 2>&1 || { cat "$AIRFLOW_HOME/migrate.log"; exit 1; }
touch "$stamp"
