{#
    Configures an incremental model so that one transaction makes it equal to its query: rows that differ in one of
    `columns` are replaced, new ones inserted, those whose key is gone deleted. A row that is the same is not written.
#}
{% macro merge_whole_query(columns) %}
    {%- set differs = 'not ' ~ same_in(columns, 'DBT_INTERNAL_SOURCE', 'DBT_INTERNAL_DEST') -%}
    {{ adapter.dispatch('merge_whole_query')(differs) }}
{% endmacro %}

{% macro databricks__merge_whole_query(differs) %}
    {{ config(incremental_strategy='merge', matched_condition=differs, not_matched_by_source_action='delete') }}
{% endmacro %}

{% macro duckdb__merge_whole_query(differs) %}
    {{ config(incremental_strategy='merge_whole_query', merge_update_condition=differs) }}
{% endmacro %}


{#
    The strategy on DuckDB: one join finds the changes, then the rows that they replace are deleted and the new ones
    inserted. DuckDB's own MERGE updates rows in place, which costs much more where they are scattered over a table.
#}
{% macro get_incremental_merge_whole_query_sql(arguments) -%}
    {%- set target, source, key = arguments.target_relation, arguments.temp_relation, arguments.unique_key -%}
    {%- set changes = adapter.quote(target.identifier ~ '__changes') -%}
    create temporary table {{ changes }} as
    select
        DBT_INTERNAL_SOURCE.*,
        DBT_INTERNAL_DEST.rowid as replaced_rowid
    from {{ source }} as DBT_INTERNAL_SOURCE
    full outer join {{ target }} as DBT_INTERNAL_DEST on DBT_INTERNAL_SOURCE.{{ key }} = DBT_INTERNAL_DEST.{{ key }}
    where
        DBT_INTERNAL_SOURCE.{{ key }} is null
        or DBT_INTERNAL_DEST.rowid is null
        or {{ config.get('merge_update_condition') }};

    delete from {{ target }}
    where rowid in (select replaced_rowid from {{ changes }});

    insert into {{ target }} by name
    select * exclude (replaced_rowid) from {{ changes }}
    where {{ key }} is not null or replaced_rowid is null;

    drop table {{ changes }};
{%- endmacro %}


{#
    dbt-duckdb would first write all rows of the query into a temporary table. The strategy reads them once, so a view is
    enough, as it is on Databricks.
#}
{% macro duckdb__create_table_as(
    temporary, relation, compiled_code, language='sql', partitioned_by=none, sorted_by=none
) -%}
    {%- if temporary and config.get('incremental_strategy') == 'merge_whole_query' -%}
        {{ get_assert_columns_equivalent(compiled_code) }}
        create temporary view {{ relation.include(database=false, schema=false) }} as (
            {{ compiled_code }}
        );
    {%- else -%}
        {{ dbt.duckdb__create_table_as(temporary, relation, compiled_code, language, partitioned_by, sorted_by) }}
    {%- endif -%}
{%- endmacro %}
