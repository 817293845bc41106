{% set columns = [
    'customer_id', 'balance_amount', 'account_type', 'customer_name', 'has_loan_flag', 'valid_from_at'
] %}
{{ config(
    unique_key='account_id',
    post_hook=delete_vanished('account_id', """
        select account.account_id
        from {{ ref('snap_account') }} as account
        inner join {{ ref('snap_customer') }} as customer on account.customer_id = customer.customer_id
        where account.dbt_valid_to is null and customer.dbt_valid_to is null
    """)
) }}
{{ update_if_different(columns) }}
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

),

joined as (

    select
        accounts.account_id,
        accounts.customer_id,
        accounts.balance_amount,
        accounts.account_type,
        customers.customer_name,
        customers.has_loan_flag,
        greatest(accounts.dbt_valid_from, customers.dbt_valid_from) as valid_from_at
    from accounts
    inner join customers on accounts.customer_id = customers.customer_id

)

select
    joined.account_id,
    joined.customer_id,
    joined.balance_amount,
    joined.account_type,
    joined.customer_name,
    joined.has_loan_flag,
    joined.valid_from_at
from joined
{{ only_changed('joined', 'account_id', columns, time='joined.valid_from_at') }}
