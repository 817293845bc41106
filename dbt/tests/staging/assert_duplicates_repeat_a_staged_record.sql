-- A record was dropped as a duplicate, but no staged record has its key: it is lost.
with checked as (

    select
        'customers' as file_name,
        cast(customer_id as string) as record_key,
        record_status
    from {{ ref('stg_customer_checked') }}
    union all
    select
        'accounts' as file_name,
        account_id as record_key,
        record_status
    from {{ ref('stg_account_checked') }}

),

duplicates as (

    select distinct
        file_name,
        record_key
    from checked where record_status = 'duplicate'

),

staged as (

    select
        file_name,
        record_key
    from checked where record_status = 'staged'

)

select duplicates.*
from duplicates
left join staged
    on duplicates.file_name = staged.file_name and duplicates.record_key = staged.record_key
where staged.record_key is null
