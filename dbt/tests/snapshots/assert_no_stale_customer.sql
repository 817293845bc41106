{{ config(severity='warn', store_failures=true) }}

-- A current customer arrived only in quarantined records. Its last valid version stays current until a good record
-- arrives or the key is absent. Inform the sender.
with current_versions as (

    select * from {{ ref('snap_customer') }} where dbt_valid_to is null

),

stale as (

    {{ only_quarantined('customer_id', ref('stg_customer_checked')) }}

)

select current_versions.*
from current_versions
inner join stale on current_versions.customer_id = stale.customer_id
