-- Accounts of the current delivery, one row per account_id.
select {{ contract_columns() }}
from {{ ref('stg_account_checked') }}
where record_status = 'staged'
