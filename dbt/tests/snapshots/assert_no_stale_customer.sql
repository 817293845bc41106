{{ config(severity='warn', store_failures=true) }}

-- A current customer arrived only in quarantined records. Its last valid version stays current until a good record
-- arrives or the key is absent. Inform the sender.
with current_versions as (

    select * from {{ ref('snap_customer') }} where dbt_valid_to is null

),

staged as (

    select * from {{ ref('stg_customer') }}

)

select current_versions.*
from current_versions
left join staged on current_versions.customer_id = staged.customer_id
where staged.customer_id is null
