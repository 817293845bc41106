-- A rate is not the rate of the balance's tier plus the bonus for the customer's loan: a changed loan flag or rate did
-- not reach the mart.
with summaries as (

    select * from {{ ref('account_summary') }}

),

profiles as (

    select * from {{ ref('customer_profile') }}

),

tiers as (

    {{ rates_in_force() }}

)

select
    summaries.account_id,
    summaries.interest_rate_pct,
    tiers.base_rate_pct,
    profiles.has_loan_flag
from summaries
inner join profiles on summaries.customer_id = profiles.customer_id
left join tiers
    on
        summaries.original_balance_amount >= tiers.from_balance_amount
        and summaries.original_balance_amount < coalesce(tiers.below_balance_amount, 99999999999999999)
where
    tiers.base_rate_pct is null
    or summaries.interest_rate_pct is distinct from
    tiers.base_rate_pct + case when profiles.has_loan_flag then tiers.loan_bonus_pct else 0 end
