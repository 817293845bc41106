{{ config(severity='warn', store_failures=true) }}

-- A current account has no current customer (unknown, deleted, or only ever quarantined), so it bears no interest until
-- its customer arrives. The quality report gives the reason for each account.
with current_accounts as (

    select * from {{ ref('snap_account') }} where dbt_valid_to is null

),

existing as (

    select * from {{ ref('int_account_with_customer') }}

)

select
    current_accounts.account_id,
    current_accounts.customer_id
from current_accounts
left join existing on current_accounts.account_id = existing.account_id
where existing.account_id is null
