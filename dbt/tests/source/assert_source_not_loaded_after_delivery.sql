-- A record that claims to have first arrived after the delivery it came in: the landing's loaded_at is wrong. Compare
-- the landed file with the one before it.
with records as (

    select
        source_row_number,
        loaded_at
    from {{ ref('src_customer') }}
    union all
    select
        source_row_number,
        loaded_at
    from {{ ref('src_account') }}

)

select * from records
where loaded_at > {{ delivered_at() }}
