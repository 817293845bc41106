{# How each engine reads the landing. Everything else about it is in macros/landing. #}

{# The folder of the landing where the engine reads it: on Databricks the volume that ingestion uploads it to. #}
{% macro landing_path() %}{{ return(adapter.dispatch('landing_path')()) }}{% endmacro %}

{% macro duckdb__landing_path() %}{% do return(env_var('LANDING_PATH', '../data/landing')) %}{% endmacro %}

{% macro databricks__landing_path() %}
    {% do return(env_var('DATABRICKS_VOLUME', '/Volumes/' ~ target.database ~ '/' ~ target.schema ~ '/landing')) %}
{% endmacro %}


{# A path of the landing that DuckDB's readers take literally. By default they match patterns, and read `name=Bob` as a
   column unless hive_partitioning is off. include/duckdb_paths.py does the same. #}
{% macro duckdb__landed_file(path) -%}
    '{{ (landing_path() ~ '/' ~ path)
        | replace('[', '[[]') | replace('*', '[*]') | replace('?', '[?]') | replace("'", "''") }}'
{%- endmacro %}


{# A relation over a landed Parquet file, its times as timestamps in UTC. #}
{% macro landing_relation(path) %}{{ return(adapter.dispatch('landing_relation')(path)) }}{% endmacro %}

{% macro duckdb__landing_relation(path) -%}
    (
        select * replace (
            delivered_at at time zone 'UTC' as delivered_at,
            loaded_at at time zone 'UTC' as loaded_at
        )
        from read_parquet({{ duckdb__landed_file(path) }}, hive_partitioning = false)
    )
{%- endmacro %}

{% macro databricks__landing_relation(path) -%}
    parquet.`{{ landing_path() }}/{{ path }}`
{%- endmacro %}


{# A relation over the ledger, one row per entry. Its times are strings, which sort like the times. #}
{% macro ledger_relation() %}{{ return(adapter.dispatch('ledger_relation')()) }}{% endmacro %}

{% macro duckdb__ledger_relation() -%}
    read_json(
        {{ duckdb__landed_file('ledger.jsonl') }},
        format = 'newline_delimited',
        hive_partitioning = false,
        columns = {
            delivered_at: 'varchar', state: 'varchar', customers_path: 'varchar', accounts_path: 'varchar',
            customers_rows: 'bigint', accounts_rows: 'bigint'
        }
    )
{%- endmacro %}

{% macro databricks__ledger_relation() -%}
    json.`{{ landing_path() }}/ledger.jsonl`
{%- endmacro %}


{# A missing file is an error that names the file: some engines would read it as an empty relation. #}
{% macro assert_landed(path) %}{{ return(adapter.dispatch('assert_landed')(path)) }}{% endmacro %}

{% macro duckdb__assert_landed(path) %}
    {% if run_query('select 1 from glob(' ~ duckdb__landed_file(path) ~ ')') | length == 0 %}
        {% do exceptions.raise_compiler_error(
            'Nothing has been landed: ' ~ landing_path() ~ '/' ~ path ~ ' is missing. Land a delivery first, with `make run`, '
            ~ 'or let LANDING_PATH name the folder of the landing.') %}
    {% endif %}
{% endmacro %}

{# Databricks itself refuses a path that does not exist. #}
{% macro databricks__assert_landed(path) %}{% endmacro %}
