-- No set of rates has an empty valid_from_date, so deliveries before the first day have no rate. Add one to
-- seeds/interest_rate_tier.csv. (Two such sets overlap, which assert_interest_rate_tiers_have_no_gap finds.)
select count(*) as tiers_from_the_beginning
from {{ ref('interest_rate_tier') }}
where valid_from_date is null
having count(*) = 0
