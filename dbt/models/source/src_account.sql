-- The current delivery's records of accounts.csv, strings exactly as received, malformed ones included.
-- The landing carries loaded_at: it says since which delivery this exact record has been arriving without a break.
with landed as (

    select * from {{ landed('accounts') }}

)

select
    account_id,
    customer_id,
    balance,
    account_type,
    source_row_number,
    loaded_at,
    raw_record,
    malformed_reason
from landed
