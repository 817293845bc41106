-- A row says that it changed after the current delivery: a clock, or a later delivery, got into the mart.
with rows_of_both as (

    select
        account_id as row_key,
        calculated_at
    from {{ ref('account_summary') }}
    union all
    select
        cast(customer_id as string) as row_key,
        calculated_at
    from {{ ref('customer_profile') }}

)

select * from rows_of_both
where calculated_at > {{ delivered_at() }}
