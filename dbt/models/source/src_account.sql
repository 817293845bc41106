-- The current delivery's records of accounts.csv, strings exactly as received, malformed ones included.
-- The landing carries loaded_at: it says since which delivery this exact record has been arriving without a break.
select {{ landed_columns('accounts') }}
from {{ landed('accounts') }}
