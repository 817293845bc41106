-- A savings account is missing here or differs, or an account that is gone or no longer savings is still here.
with savings as (

    select * from {{ ref('int_account_with_customer') }} where account_type = 'savings'

),

existing as (

    select * from {{ ref('int_savings_account_only') }}

)

select
    savings.account_id as expected_account_id,
    existing.account_id as existing_account_id
from savings
full outer join existing on savings.account_id = existing.account_id
where
    savings.account_id is null
    or existing.account_id is null
    or not {{ same_in(account_columns() + customer_columns() + ['valid_from_at'], 'savings', 'existing') }}
