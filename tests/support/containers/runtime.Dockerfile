# Where Astro's runtime can't be pulled: Debian with Python and Airflow, with the runtime's user and folder, and with
# what it does to a project by itself (ONBUILD), its refusal of a requirement of `apache-airflow` included.
ARG DEBIAN_IMAGE
# hadolint ignore=DL3006
FROM ${DEBIAN_IMAGE}

SHELL ["/bin/bash", "-o", "pipefail", "-e", "-u", "-c"]
ENV AIRFLOW_HOME=/usr/local/airflow \
    PATH=/usr/local/venv/bin:$PATH \
    PYTHONPATH=/usr/local/airflow \
    UV_CACHE_DIR=/var/cache/uv \
    UV_CONSTRAINT=/etc/runtime-constraints.txt \
    UV_LINK_MODE=copy
COPY uv /usr/local/bin/uv
COPY constraints.txt /etc/runtime-constraints.txt
RUN groupadd --gid 50000 astro \
    && useradd --uid 50000 --gid astro --home-dir "$AIRFLOW_HOME" --create-home astro \
    && python3 -m venv --without-pip /usr/local/venv \
    && uv pip install --quiet --python /usr/local/venv "apache-airflow[celery,postgres]" pytest
WORKDIR /usr/local/airflow
USER astro
ENTRYPOINT ["tini", "--"]
CMD ["bash"]

ONBUILD COPY packages.txt .
ONBUILD USER root
# hadolint ignore=DL3009,SC3010
ONBUILD RUN if [[ -s packages.txt ]]; then \
    apt-get update && sed -e 's/#.*//' packages.txt | xargs apt-get install -y --no-install-recommends; fi
ONBUILD COPY requirements.txt .
ONBUILD RUN if grep -Eqx 'apache-airflow\s*[=~>]{1,2}.*' requirements.txt; then \
    echo >&2 "Do not upgrade by specifying 'apache-airflow' in requirements.txt"; exit 1; fi; \
    uv pip install --quiet --python /usr/local/venv -r requirements.txt
ONBUILD USER astro
ONBUILD COPY --chown=astro:0 . .
