{% set columns = [
    'customer_id', 'balance_amount', 'account_type', 'customer_name', 'has_loan_flag', 'valid_from_at'
] %}
{{ config(
    unique_key='account_id',
    post_hook=delete_vanished('account_id', """
        select account_id from {{ ref('int_account_with_customer') }} where account_type = 'savings'
    """)
) }}
{{ update_if_different(columns) }}
{{ clustered_by('account_id') }}

-- The accounts that bear interest.
with savings as (

    select * from {{ ref('int_account_with_customer') }}
    where account_type = 'savings'

)

select
    savings.account_id,
    savings.customer_id,
    savings.balance_amount,
    savings.account_type,
    savings.customer_name,
    savings.has_loan_flag,
    savings.valid_from_at
from savings
{{ only_changed('savings', 'account_id', columns, time='savings.valid_from_at') }}
