# The environment for make and for your shell: run `. ./env.sh` in the repository's folder. Put settings into .env (see
# .env.example). Variables that are already set take precedence, except those of the folders.

case $PWD in
    *[%?\"]*)
        echo "error: $PWD: Airflow and DuckDB can't use a folder with %, ? or \" in its path; rename it" >&2
        return 1
        ;;
esac

# The pipeline reads its own settings from .env, but Airflow's (AIRFLOW__CORE__PARALLELISM=8) must be variables.
if [ -f .env ]; then
    carriage_return=$(printf '\r')
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line%"$carriage_return"}
        name=${line%%=*} value=${line#*=}
        case $name in
            *[!A-Za-z0-9_]*) continue ;;
            AIRFLOW_*) ;;
            *) continue ;;
        esac
        case $value in
            \"*\" | \"*\"\ \#*) value=${value%\"\ \#*} value=${value#\"} value=${value%\"} ;;
            \'*\' | \'*\'\ \#*) value=${value%\'\ \#*} value=${value#\'} value=${value%\'} ;;
            *) value=${value%% #*} ;;
        esac
        printenv "$name" > /dev/null || export "$name=$value"
    done < .env
    unset line name value carriage_return
fi

export PATH="$PWD/.venv/bin:$PATH"
export AIRFLOW_HOME="$PWD/.airflow"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

export AIRFLOW__CORE__DAGS_FOLDER="$PWD/dags"
export AIRFLOW__CORE__PLUGINS_FOLDER="$PWD/plugins"
export AIRFLOW__CORE__LOAD_EXAMPLES="${AIRFLOW__CORE__LOAD_EXAMPLES:-False}"
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION="${AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION:-True}"

# On DuckDB one task runs at a time. By default Airflow would keep 32 idle workers.
export AIRFLOW__CORE__PARALLELISM="${AIRFLOW__CORE__PARALLELISM:-4}"

# Tasks run one after the other. By default the scheduler would sleep for a second between many of them.
export AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME="${AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME:-0.2}"

# Listen on loopback only, without a login: only users of this machine can reach it.
export AIRFLOW__API__HOST="${AIRFLOW__API__HOST:-127.0.0.1}"
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="${AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS:-True}"

# Telemetry would make every start slower.
export AIRFLOW__COSMOS__ENABLE_TELEMETRY="${AIRFLOW__COSMOS__ENABLE_TELEMETRY:-False}"
export AIRFLOW__COSMOS__CACHE_DIR="$AIRFLOW_HOME/cosmos"
export DBT_SEND_ANONYMOUS_USAGE_STATS=False
export DO_NOT_TRACK=1

# dbt's documentation in Airflow's UI, under Browse. `make ui` and `make dbt-docs` write it.
export AIRFLOW__COSMOS__DBT_DOCS_PROJECTS="{\"lc_pipeline\": {\"dir\": \"$PWD/dbt/target/docs\", \"index\": \"static_index.html\", \"name\": \"dbt docs\"}}"

# macOS refuses to fork a process whose libraries have started threads, and Airflow forks a process per task.
export OBJC_DISABLE_INITIALIZE_FORK_SAFETY=YES

# Airflow's tasks reach its API on loopback, not through a proxy. Libraries read either spelling, the lower case first.
export NO_PROXY="${no_proxy:-${NO_PROXY:-}}"
export NO_PROXY="${NO_PROXY:+$NO_PROXY,}127.0.0.1,localhost"
export no_proxy="$NO_PROXY"
