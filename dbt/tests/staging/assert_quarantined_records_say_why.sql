-- A quarantined record without a reason, or a good one with one: the conditions in stg_*_checked that judge a record
-- and those that name the reasons have drifted apart.
with checked as (

    select
        'customers' as file_name,
        source_row_number,
        record_status,
        failure_reasons
    from {{ ref('stg_customer_checked') }}
    union all
    select
        'accounts' as file_name,
        source_row_number,
        record_status,
        failure_reasons
    from {{ ref('stg_account_checked') }}

)

select * from checked
where (record_status = 'quarantined') is distinct from (coalesce(failure_reasons, '') <> '')
