-- The current delivery's well-formed customer records, strings exactly as received.
-- The landing carries loaded_at: it says since which delivery this exact record has been arriving without a break.
with landed as (

    select * from {{ landed('customers') }}

)

select
    customer_id,
    name,
    has_loan,
    source_row_number,
    loaded_at
from landed
where malformed_reason is null
