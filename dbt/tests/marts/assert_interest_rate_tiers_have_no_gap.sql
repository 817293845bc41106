-- The tiers of a set leave out a balance, or give two rates for one: each must begin where the previous one ends, the
-- first at zero, and the last must have no end. Correct seeds/interest_rate_tier.csv.
with tiers as (

    select
        valid_from_date,
        from_balance_amount,
        below_balance_amount,
        row_number() over (partition by valid_from_date order by from_balance_amount) as tier_number,
        lag(below_balance_amount) over (
            partition by valid_from_date order by from_balance_amount
        ) as previous_below_balance_amount,
        lead(from_balance_amount) over (
            partition by valid_from_date order by from_balance_amount
        ) as next_from_balance_amount
    from {{ ref('interest_rate_tier') }}

)

select * from tiers
where
    (tier_number = 1 and from_balance_amount is distinct from 0)
    or (tier_number > 1 and previous_below_balance_amount is distinct from from_balance_amount)
    or (next_from_balance_amount is null and below_balance_amount is not null)
    or below_balance_amount <= from_balance_amount
