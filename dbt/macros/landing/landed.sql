{# The current delivery's landed records of `customers` or `accounts`, malformed ones included. #}
{% macro landed(file) %}
    {%- set path = current_delivery()[file ~ '_path'] -%}
    {%- if execute %}{% do assert_landed(path) %}{% endif -%}
    {{ landing_relation(path) }}
{%- endmacro %}


{#
    The columns of the contract of the model being built, as expressions over `landed(file)`. A column with a `header`
    is a declared column of the file. A file that was landed before the declaration has it as the undeclared
    `received__<header>`, or not at all (then it is NULL). include/landing.py reads the landing by the same rules.
#}
{% macro landed_columns(file) -%}
    {%- set found = {} -%}
    {%- if execute -%}
        {%- for name in get_columns_in_query('select * from ' ~ landed(file)) -%}
            {%- do found.update({name | lower: adapter.quote(name)}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for name, column in model.columns.items() -%}
        {%- set undeclared = 'received__' ~ (column.meta.get('header', '') | lower) -%}
        {{ found.get(name) or found.get(undeclared) or 'cast(null as string)' }} as {{ name }}{{ ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
