{% set columns = [
    'customer_id', 'original_balance_amount', 'interest_rate_pct', 'annual_interest_amount', 'new_balance_amount'
] %}
{{ config(
    unique_key='account_id',
    post_hook=delete_vanished('account_id', "select account_id from {{ ref('int_savings_account_only') }}")
) }}
{{ update_if_different(columns) }}
{{ clustered_by('account_id') }}

-- A year's interest on each savings account, at the tier of its balance plus the bonus of customers with a loan.
with savings as (

    select * from {{ ref('int_savings_account_only') }}

),

tiers as (

    select * from {{ ref('interest_rate_tier') }}

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

),

calculated as (

    select
        *,
        cast(original_balance_amount + annual_interest_amount as decimal(19, 2)) as new_balance_amount
    from interest

)

select
    calculated.account_id,
    calculated.customer_id,
    calculated.original_balance_amount,
    calculated.interest_rate_pct,
    calculated.annual_interest_amount,
    calculated.new_balance_amount,
    {{ delivered_at() }} as calculated_at
from calculated
{{ only_changed('calculated', 'account_id', columns, time='held.calculated_at') }}
