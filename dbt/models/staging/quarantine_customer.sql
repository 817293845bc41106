-- Customer records of the current delivery that were not staged, as received, with every reason.
with checked as (

    select * from {{ ref('stg_customer_checked') }}

)

select
    received_customer_id as customer_id,
    received_name as name,
    received_has_loan as has_loan,
    raw_record,
    source_row_number,
    failure_reasons,
    loaded_at
from checked
where record_status = 'quarantined'
