-- The source tables don't hold the ledger's last delivery: their records differ in number from that delivery's files.
-- Build the source layer again before anything that reads it.
with counted as (

    select
        'customers' as file_name,
        count(*) as found_count,
        max(source_row_number) as highest_row_number,
        {{ current_delivery()['customers_rows'] or 0 }} as landed_count
    from {{ ref('src_customer') }}
    union all
    select
        'accounts' as file_name,
        count(*) as found_count,
        max(source_row_number) as highest_row_number,
        {{ current_delivery()['accounts_rows'] or 0 }} as landed_count
    from {{ ref('src_account') }}

)

select * from counted
where found_count is distinct from landed_count or highest_row_number is distinct from landed_count
