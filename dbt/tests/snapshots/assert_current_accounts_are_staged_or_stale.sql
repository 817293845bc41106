-- The current accounts don't match the delivery. Each staged account must be current with the staged values; any other
-- current account must have arrived only in quarantined records. Otherwise the snapshot missed a change or a delete.
with current_accounts as (

    select * from {{ ref('snap_account') }} where dbt_valid_to is null

),

staged as (

    select * from {{ ref('stg_account') }}

),

quarantined as (

    select distinct account_id from {{ ref('stg_account_checked') }} where record_status = 'quarantined'

)

select
    staged.account_id as staged_account_id,
    current_accounts.account_id as current_account_id
from staged
full outer join current_accounts on staged.account_id = current_accounts.account_id
left join quarantined on current_accounts.account_id = quarantined.account_id
where
    current_accounts.account_id is null
    or (staged.account_id is null and quarantined.account_id is null)
    or (
        staged.account_id is not null
        and not {{ same_in(account_columns(), 'staged', 'current_accounts') }}
    )
