-- The interest is not the balance times the rate rounded to cents, or the new balance is not balance plus interest: an
-- amount was rounded wrongly, or an old one was kept.
select * from {{ ref('account_summary') }}
where
    abs(annual_interest_amount - cast(original_balance_amount as decimal(28, 2)) * interest_rate_pct) > 0.005
    or new_balance_amount is distinct from original_balance_amount + annual_interest_amount
