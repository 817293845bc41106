-- Account records of the current delivery that were not staged, as received, with every reason.
with quarantined as (

    select
        source_row_number as row_number,
        failure_reasons
    from {{ ref('stg_account_checked') }}
    where record_status = 'quarantined'

)

select {{ contract_columns() }}
from {{ ref('src_account') }} as records
inner join quarantined on records.source_row_number = quarantined.row_number
