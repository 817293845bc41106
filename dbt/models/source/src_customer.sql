-- The current delivery's records of customers.csv, strings exactly as received, malformed ones included.
-- The landing carries loaded_at: it says since which delivery this exact record has been arriving without a break.
with landed as (

    select * from {{ landed('customers') }}

)

select
    customer_id,
    name,
    has_loan,
    source_row_number,
    loaded_at,
    raw_record,
    malformed_reason
from landed
