-- A customer's totals are not the sums over account_summary, or a customer without a row there is still here.
with sums as (

    select
        customer_id,
        count(*) as total_accounts_count,
        sum(original_balance_amount) as total_balance_amount,
        sum(annual_interest_amount) as total_annual_interest_amount
    from {{ ref('account_summary') }}
    group by customer_id

),

profiles as (

    select * from {{ ref('customer_profile') }}

)

select
    sums.customer_id as summed_customer_id,
    profiles.customer_id as profile_customer_id
from sums
full outer join profiles on sums.customer_id = profiles.customer_id
where
    sums.customer_id is null
    or profiles.customer_id is null
    or sums.total_accounts_count is distinct from profiles.total_accounts_count
    or sums.total_balance_amount is distinct from profiles.total_balance_amount
    or sums.total_annual_interest_amount is distinct from profiles.total_annual_interest_amount
