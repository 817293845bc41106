-- The current delivery's records of accounts.csv, strings exactly as received, malformed ones included.
-- loaded_at comes from the landing: ingestion compares each record with those of the delivery before.
select {{ landed_columns('accounts') }}
from {{ landed('accounts') }}
