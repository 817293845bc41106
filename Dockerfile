# Astro's runtime does most of the work (ONBUILD): it installs packages.txt and requirements.txt and copies the project.
# RUNTIME_IMAGE replaces it with an image that does the same. The first FROM must name the runtime literally, because
# the Astro CLI reads the version there.
ARG RUNTIME_IMAGE=runtime
FROM astrocrpublic.azurecr.io/runtime:3.3-2-python-3.12 AS runtime

FROM ${RUNTIME_IMAGE}

# Without bytecode every start takes twice as long, and Airflow's user can't write it. `|| true`, because some packages
# contain files that are not Python 3.
USER root
RUN python -m compileall -q -j 0 "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true
USER astro

# As in env.sh, which has the reasons.
ENV AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__CORE__PARALLELISM=4 \
    AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=0.2 \
    AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    AIRFLOW__COSMOS__DBT_DOCS_PROJECTS='{"lc_pipeline": {"dir": "/usr/local/airflow/dbt/target/docs", "index": "static_index.html", "name": "dbt docs"}}' \
    DBT_SEND_ANONYMOUS_USAGE_STATS=False \
    DO_NOT_TRACK=1

# The commit that the image is built from, for the quality report.
ARG GIT_REVISION=""
ENV GIT_REVISION=${GIT_REVISION}

# dbt's manifest, from which the DAG is rendered, and dbt's documentation for Airflow's UI.
RUN mkdir -p logs secrets data/landing data/duckdb data/outputs data/quality_reports \
    && python -m include.dbt.manifest \
    && python -m include.dbt.docs --no-catalog
