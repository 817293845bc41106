-- An account that is savings is missing here, or differs, or one that is savings no more (or gone) has stayed.
with savings as (

    select * from {{ ref('int_account_with_customer') }} where account_type = 'savings'

),

held as (

    select * from {{ ref('int_savings_account_only') }}

)

select
    savings.account_id as expected_account_id,
    held.account_id as held_account_id
from savings
full outer join held on savings.account_id = held.account_id
where
    savings.account_id is null
    or held.account_id is null
    or savings.customer_id is distinct from held.customer_id
    or savings.balance_amount is distinct from held.balance_amount
    or savings.customer_name is distinct from held.customer_name
    or savings.has_loan_flag is distinct from held.has_loan_flag
    or savings.valid_from_at is distinct from held.valid_from_at
