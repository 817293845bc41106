{#
    Column lists, from macros/entities.sql or a model's contract. The marts name the columns that they compare
    themselves, since dbt reads a model's configuration before its contract.
#}

{# The columns of the contract of the model being built. (A unit test has none.) #}
{% macro contract_columns() -%}
    {{ model.columns | join(', ') }}
{%- endmacro %}


{# `columns` of a relation. #}
{% macro columns_of(relation, columns) -%}
    {%- for column in columns %}{{ relation }}.{{ column }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}


{# The condition that two relations are equal in `columns`. NULL equals NULL. #}
{% macro same_in(columns, one, other) -%}
    (
        {%- for column in columns %}
        {{ one }}.{{ column }} is not distinct from {{ other }}.{{ column }}{{ ' and' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
