-- Customers of the current delivery, one row per customer_id.
with checked as (

    select * from {{ ref('stg_customer_checked') }}

)

select
    customer_id,
    customer_name,
    has_loan_flag,
    loaded_at
from checked
where record_status = 'staged'
