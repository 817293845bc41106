-- The current customers don't match the delivery. Each staged customer must be current with the staged values; any
-- other current customer must have arrived only in quarantined records. Otherwise the snapshot missed a change or a
-- delete.
with current_customers as (

    select * from {{ ref('snap_customer') }} where dbt_valid_to is null

),

staged as (

    select * from {{ ref('stg_customer') }}

),

quarantined as (

    select distinct customer_id from {{ ref('stg_customer_checked') }} where record_status = 'quarantined'

)

select
    staged.customer_id as staged_customer_id,
    current_customers.customer_id as current_customer_id
from staged
full outer join current_customers on staged.customer_id = current_customers.customer_id
left join quarantined on current_customers.customer_id = quarantined.customer_id
where
    current_customers.customer_id is null
    or (staged.customer_id is null and quarantined.customer_id is null)
    or (
        staged.customer_id is not null
        and not {{ same_in(customer_columns(), 'staged', 'current_customers') }}
    )
