{#
    Runs before each dbt command. With --empty, dbt reads no row of any model: the snapshots would take every key for
    deleted and the merges would delete every row.
#}
{% macro refuse_empty() %}
    {% if execute and invocation_args_dict.get('empty') %}
        {% do exceptions.raise_compiler_error(
            '--empty is refused: with no row to read, every key would count as deleted, in the snapshots and in the marts. '
            ~ 'To check the SQL alone, use `dbt compile`.') %}
    {% endif %}
{% endmacro %}
