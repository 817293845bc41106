{#
    The delivery that is being processed: the last entry of the landing's ledger, as a dict of strings. Discarded
    entries, which can have a later time, don't count. It is read from the ledger, so that a plain `dbt build` needs no
    variable. It is read once for each dbt command, whose nodes share the dict `graph`.
#}
{% macro current_delivery() %}
    {% if not execute %}
        {% do return({'delivered_at': '1970-01-01T00:00:00.000000Z', 'customers_path': '', 'accounts_path': ''}) %}
    {% endif %}
    {% set known = graph.get('current_delivery', {}) %}
    {% if invocation_id not in known %}
        {% set known = {invocation_id: newest_entry()} %}
        {% do graph.update({'current_delivery': known}) %}
    {% endif %}
    {% do return(known[invocation_id]) %}
{% endmacro %}


{#
    The last entry of the ledger. All times are read and written in the session's time zone, so a session that isn't in
    UTC is refused.
#}
{% macro newest_entry() %}
    {% do assert_landed('ledger.jsonl') %}
    {% set entries = run_query(
        'select delivered_at, customers_path, accounts_path, customers_rows, accounts_rows, '
        ~ session_time_zone() ~ ' as time_zone from ' ~ ledger_relation()
        ~ " where state <> 'discarded' order by delivered_at desc limit 1"
    ) %}
    {% if entries | length == 0 %}
        {% do exceptions.raise_compiler_error(
            'The ledger in ' ~ landing_path() ~ ' has no entry: land a delivery first, with `make run`.') %}
    {% endif %}
    {% set delivery = entries.rows[0].dict() %}
    {% if delivery['time_zone'] not in ('UTC', 'Etc/UTC') %}
        {% do exceptions.raise_compiler_error(
            "The session's time zone is " ~ delivery['time_zone'] ~ ', expected UTC: keep `TimeZone: UTC` (DuckDB, under '
            ~ 'settings) and `timezone: UTC` (Databricks, under session_properties) in dbt/profiles.yml.') %}
    {% endif %}
    {% do return(delivery) %}
{% endmacro %}


{# The current delivery's delivered_at as a timestamp literal. Its Z keeps it in UTC, whatever the session's time zone. #}
{% macro delivered_at() -%}
    timestamp '{{ current_delivery()['delivered_at'] | replace('T', ' ') }}'
{%- endmacro %}


{# dbt's clock for snapshots: a hard delete closes a version at the time of the delivery, not of the wall clock. #}
{% macro default__snapshot_get_time() -%}
    {{ delivered_at() }}
{%- endmacro %}
