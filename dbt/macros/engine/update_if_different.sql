{#
    Configures an incremental model so that its merge leaves a row alone that is the same in all of `columns`: what the
    look-back looks at again is neither written again nor given a new calculated_at.
#}
{% macro update_if_different(columns) -%}
    {{ adapter.dispatch('update_if_different')(differ(columns, 'DBT_INTERNAL_SOURCE', 'DBT_INTERNAL_DEST')) }}
{%- endmacro %}

{% macro duckdb__update_if_different(condition) %}{{ config(merge_update_condition=condition) }}{% endmacro %}

{% macro databricks__update_if_different(condition) %}{{ config(matched_condition=condition) }}{% endmacro %}
