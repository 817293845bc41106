{#
    Configures an incremental model so that one merge makes it equal to its query: rows that differ in one of `columns`
    are updated, new ones inserted, those whose key is gone deleted. A row that is the same is not written.
#}
{% macro merge_whole_query(columns) %}
    {%- set conditions = [] -%}
    {%- for column in columns -%}
        {%- do conditions.append('DBT_INTERNAL_SOURCE.' ~ column ~ ' is distinct from DBT_INTERNAL_DEST.' ~ column) -%}
    {%- endfor -%}
    {{ adapter.dispatch('merge_whole_query')('(' ~ conditions | join(' or ') ~ ')') }}
{% endmacro %}

{% macro duckdb__merge_whole_query(differs) %}
    {{ config(merge_clauses={
        'when_matched': [{'action': 'update', 'mode': 'by_name', 'condition': differs}],
        'when_not_matched': [{'action': 'insert', 'mode': 'by_name'}, {'action': 'delete', 'by': 'source'}]
    }) }}
{% endmacro %}

{% macro databricks__merge_whole_query(differs) %}
    {{ config(matched_condition=differs, not_matched_by_source_action='delete') }}
{% endmacro %}
