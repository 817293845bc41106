{{ config(severity='warn', store_failures=true) }}

-- A current account arrived only in quarantined records. Its last valid version stays current until a good record
-- arrives or the key is absent. Inform the sender.
with current_versions as (

    select * from {{ ref('snap_account') }} where dbt_valid_to is null

),

staged as (

    select * from {{ ref('stg_account') }}

)

select current_versions.*
from current_versions
left join staged on current_versions.account_id = staged.account_id
where staged.account_id is null
