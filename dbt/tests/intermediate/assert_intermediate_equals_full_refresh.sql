-- The incremental table differs from a full refresh of the same snapshots: a change or a delete did not reach it. Do a
-- full refresh, then look for the delivery that caused it.
with current_rows as (

    select
        accounts.account_id,
        {{ columns_of('accounts', account_columns()) }},
        {{ columns_of('customers', customer_columns()) }},
        greatest(accounts.dbt_valid_from, customers.dbt_valid_from) as valid_from_at
    from {{ ref('snap_account') }} as accounts
    inner join {{ ref('snap_customer') }} as customers on accounts.customer_id = customers.customer_id
    where accounts.dbt_valid_to is null and customers.dbt_valid_to is null

),

existing as (

    select * from {{ ref('int_account_with_customer') }}

)

select
    current_rows.account_id as expected_account_id,
    existing.account_id as existing_account_id
from current_rows
full outer join existing on current_rows.account_id = existing.account_id
where
    current_rows.account_id is null
    or existing.account_id is null
    or not {{ same_in(account_columns() + customer_columns() + ['valid_from_at'], 'current_rows', 'existing') }}
