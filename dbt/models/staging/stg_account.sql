-- Accounts of the current delivery, one row per account_id.
with checked as (

    select * from {{ ref('stg_account_checked') }}

)

select
    account_id,
    customer_id,
    balance_amount,
    account_type,
    loaded_at
from checked
where record_status = 'staged'
