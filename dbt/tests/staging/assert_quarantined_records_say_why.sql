-- A quarantined record has no reason, or a good one has one: in stg_*_checked, the conditions that judge a record no
-- longer match those that name the reasons.
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
