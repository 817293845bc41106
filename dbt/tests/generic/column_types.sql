{#
    Fails for each column whose type is not the one that `types` (column -> type, as in a contract) says, that is missing
    or that nobody expects. Stands in for a contract where dbt allows none, and compares precision and scale, which
    Databricks' contracts don't.
#}
{% test column_types(model, types) %}

{%- set found = {} -%}
{%- if execute -%}
    {%- for column in adapter.get_columns_in_relation(model) -%}
        {%- set type = column.dtype if column.is_string() else column.data_type -%}
        {%- do found.update({column.name | lower: type | lower | replace(' ', '')}) -%}
    {%- endfor -%}
{%- endif -%}
{%- set rows = [] -%}
{%- for name, type in types.items() -%}
    {%- if found.get(name, 'missing') != type_name(type) -%}
        {%- do rows.append((name, type_name(type), found.get(name, 'missing'))) -%}
    {%- endif -%}
{%- endfor -%}
{%- for name, type in found.items() if name not in types -%}
    {%- do rows.append((name, 'no such column', type)) -%}
{%- endfor -%}

{%- for name, expected, type in rows %}
select '{{ name }}' as column_name, '{{ expected }}' as expected_type, '{{ type }}' as found_type
{{ 'union all' if not loop.last }}
{%- else %}
select '' as column_name, '' as expected_type, '' as found_type where 1 = 0
{%- endfor %}

{% endtest %}
