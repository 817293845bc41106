#!/usr/bin/env bash
# Migrate Airflow's own database: the one in AIRFLOW__DATABASE__SQL_ALCHEMY_CONN, or SQLite in .airflow. A database that
# was migrated after the last installation is skipped, since starting Airflow takes 2 s.
set -euo pipefail
database=$(env | grep '^AIRFLOW__DATABASE__' | sort | cksum | tr ' ' -) || true
stamp=$AIRFLOW_HOME/.migrated-$database
[ "$stamp" -nt .venv/.installed ] && exit
echo "setting up Airflow's database (log: ${AIRFLOW_HOME#"$PWD"/}/migrate.log)"
mkdir -p "$AIRFLOW_HOME"
airflow db migrate > "$AIRFLOW_HOME/migrate.log" 2>&1 || { cat "$AIRFLOW_HOME/migrate.log"; exit 1; }
touch "$stamp"
