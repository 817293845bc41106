{#
    The versions that a delivery opens ('insert') and closes ('update', 'delete'), in the columns that dbt's snapshots
    expect. dbt's own macro joins the delivery with the current versions three times, and hashes every row. This one
    joins them once, and works on the rows that differ.
#}
{% macro default__snapshot_staging_table(strategy, source_sql, target_relation) -%}
    {%- if strategy.hard_deletes != 'invalidate' or strategy.unique_key is not string
        or config.get('dbt_valid_to_current') -%}
        {%- do exceptions.raise_compiler_error(
            'macros/snapshots/snapshot_staging_table.sql expects one unique_key, hard_deletes: invalidate, and no '
            ~ 'dbt_valid_to_current.') -%}
    {%- endif -%}
    {%- set columns = config.get('snapshot_table_column_names') or get_snapshot_table_column_names() -%}
    {%- set source_columns = get_quoted_csv(get_columns_in_query(source_sql)) -%}
    with snapshot_query as (

        {{ source_sql }}

    ),

    source_data as (

        select
            *,
            {{ strategy.unique_key }} as dbt_unique_key
        from snapshot_query

    ),

    snapshotted_data as (

        select
            *,
            {{ strategy.unique_key }} as dbt_unique_key
        from {{ target_relation }}
        where {{ columns.dbt_valid_to }} is null

    ),

    changes as (

        select
            source_data.*,
            snapshotted_data.{{ columns.dbt_scd_id }} as closed_scd_id
        from source_data
        full outer join snapshotted_data on source_data.dbt_unique_key = snapshotted_data.dbt_unique_key
        where
            source_data.dbt_unique_key is null
            or snapshotted_data.dbt_unique_key is null
            or {{ strategy.row_changed }}

    )

    select
        'insert' as dbt_change_type,
        {{ source_columns }},
        dbt_unique_key,
        {{ strategy.updated_at }} as {{ columns.dbt_updated_at }},
        {{ strategy.updated_at }} as {{ columns.dbt_valid_from }},
        {{ get_dbt_valid_to_current(strategy, columns) }},
        {{ strategy.scd_id }} as {{ columns.dbt_scd_id }}
    from changes
    where dbt_unique_key is not null
    union all
    select
        case when dbt_unique_key is null then 'delete' else 'update' end as dbt_change_type,
        {{ source_columns }},
        dbt_unique_key,
        ended_at as {{ columns.dbt_updated_at }},
        ended_at as {{ columns.dbt_valid_from }},
        ended_at as {{ columns.dbt_valid_to }},
        closed_scd_id as {{ columns.dbt_scd_id }}
    from (
        select
            *,
            case when dbt_unique_key is null then {{ snapshot_get_time() }} else {{ strategy.updated_at }} end as ended_at
        from changes
        where closed_scd_id is not null
    ) as closed
{%- endmacro %}
