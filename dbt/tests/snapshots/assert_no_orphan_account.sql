{{ config(severity='warn', store_failures=true) }}

-- A current account has no current customer (unknown, deleted, or only ever quarantined), so it bears no interest until
-- its customer arrives. The quality report gives the reason for each account.
with current_accounts as (

    select * from {{ ref('snap_account') }} where dbt_valid_to is null

),

current_customers as (

    select * from {{ ref('snap_customer') }} where dbt_valid_to is null

)

select
    current_accounts.account_id,
    current_accounts.customer_id
from current_accounts
left join current_customers on current_accounts.customer_id = current_customers.customer_id
where current_customers.customer_id is null
