-- A version begins or ends after the current delivery: dbt's wall clock got into the history, or the landing's ledger
-- was set back. Validity must always be a delivered_at.
with versions as (

    select
        'customer' as entity,
        dbt_scd_id,
        dbt_valid_from,
        dbt_valid_to
    from {{ ref('snap_customer') }}
    union all
    select
        'account' as entity,
        dbt_scd_id,
        dbt_valid_from,
        dbt_valid_to
    from {{ ref('snap_account') }}

)

select * from versions
where dbt_valid_from > {{ delivered_at() }} or dbt_valid_to > {{ delivered_at() }}
