-- Account records of the current delivery that were not staged, as received, with every reason.
with checked as (

    select * from {{ ref('stg_account_checked') }}

)

select
    received_account_id as account_id,
    received_customer_id as customer_id,
    received_balance as balance,
    received_account_type as account_type,
    raw_record,
    source_row_number,
    failure_reasons,
    loaded_at
from checked
where record_status = 'quarantined'
