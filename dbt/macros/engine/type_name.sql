{# The name under which the engine's catalog shows a type of a contract. #}
{% macro type_name(type) %}{{ return(adapter.dispatch('type_name')(type)) }}{% endmacro %}

{% macro default__type_name(type) %}{{ return(type) }}{% endmacro %}

{% macro duckdb__type_name(type) %}{{ return({'string': 'varchar'}.get(type, type)) }}{% endmacro %}
