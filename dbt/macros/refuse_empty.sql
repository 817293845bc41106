{#
    Runs before each dbt command. With --empty, dbt reads no rows of any model, so the snapshots would close every key
    as deleted, and the merges would delete every row.
#}
{% macro refuse_empty() %}
    {% if execute and invocation_args_dict.get('empty') %}
        {% do exceptions.raise_compiler_error(
            '--empty is refused: with no row to read, every key would count as deleted, in the snapshots and in the marts. '
            ~ 'To check the SQL alone, use `dbt compile`.') %}
    {% endif %}
{% endmacro %}
