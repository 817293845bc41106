{{ config(unique_key='account_id') }}
{{ merge_whole_query(account_columns() + customer_columns() + ['valid_from_at']) }}
{{ clustered_by('account_id') }}

-- Current accounts with their current customer. The inner join leaves out accounts whose customer is not current:
-- the quality report lists these orphans with the reason.
with accounts as (

    select * from {{ ref('snap_account') }}
    where dbt_valid_to is null

),

customers as (

    select * from {{ ref('snap_customer') }}
    where dbt_valid_to is null

)

select
    accounts.account_id,
    {{ columns_of('accounts', account_columns()) }},
    {{ columns_of('customers', customer_columns()) }},
    greatest(accounts.dbt_valid_from, customers.dbt_valid_from) as valid_from_at
from accounts
inner join customers on accounts.customer_id = customers.customer_id
