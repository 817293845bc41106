-- The interest is not the balance times the rate rounded to cents, or the new balance not their sum: an amount was
-- rounded, or an old one kept.
select * from {{ ref('account_summary') }}
where
    abs(annual_interest_amount - cast(original_balance_amount as decimal(28, 2)) * interest_rate_pct) > 0.005
    or new_balance_amount is distinct from original_balance_amount + annual_interest_amount
