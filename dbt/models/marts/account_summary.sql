{{ config(unique_key='account_id') }}
{{ merge_whole_query([
    'customer_id', 'original_balance_amount', 'interest_rate_pct', 'annual_interest_amount', 'new_balance_amount'
]) }}
{{ clustered_by('account_id') }}

-- A year's interest on each savings account, at the tier of its balance plus the bonus of customers with a loan.
with savings as (

    select * from {{ ref('int_savings_account_only') }}

),

tiers as (

    {{ rates_in_force() }}

),

rated as (

    select
        savings.account_id,
        savings.customer_id,
        savings.balance_amount as original_balance_amount,
        cast(
            tiers.base_rate_pct + case when savings.has_loan_flag then tiers.loan_bonus_pct else 0 end as decimal(5, 4)
        ) as interest_rate_pct
    from savings
    inner join tiers
        on
            savings.balance_amount >= tiers.from_balance_amount
            and (savings.balance_amount < tiers.below_balance_amount or tiers.below_balance_amount is null)

),

-- The widened balance keeps the product within a decimal at both engines' rules of precision.
interest as (

    select
        *,
        cast(
            round(cast(original_balance_amount as decimal(28, 2)) * interest_rate_pct, 2) as decimal(18, 2)
        ) as annual_interest_amount
    from rated

)

select
    account_id,
    customer_id,
    original_balance_amount,
    interest_rate_pct,
    annual_interest_amount,
    cast(original_balance_amount + annual_interest_amount as decimal(19, 2)) as new_balance_amount,
    {{ delivered_at() }} as calculated_at
from interest
