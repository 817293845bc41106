-- The number of records read differs from the number staged, duplicate or quarantined: a record was lost, or came
-- twice, between the landing and staging. Don't trust anything downstream; compare stg_*_checked with the landed file
-- by row number.
with checked as (

    select
        'customers' as file_name,
        {{ current_delivery()['customers_rows'] or 0 }} as read_count,
        count(case when record_status in ('staged', 'duplicate', 'quarantined') then 1 end) as accounted_count
    from {{ ref('stg_customer_checked') }}
    union all
    select
        'accounts' as file_name,
        {{ current_delivery()['accounts_rows'] or 0 }} as read_count,
        count(case when record_status in ('staged', 'duplicate', 'quarantined') then 1 end) as accounted_count
    from {{ ref('stg_account_checked') }}

)

select * from checked
where read_count is distinct from accounted_count
