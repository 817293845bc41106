-- The current delivery's records of customers.csv, strings exactly as received, malformed ones included.
-- loaded_at comes from the landing: ingestion compares each record with those of the delivery before.
select {{ landed_columns('customers') }}
from {{ landed('customers') }}
