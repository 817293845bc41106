-- Customers of the current delivery, one row per customer_id.
select {{ contract_columns() }}
from {{ ref('stg_customer_checked') }}
where record_status = 'staged'
