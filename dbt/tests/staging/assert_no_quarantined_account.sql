{{ config(severity='warn', store_failures=true) }}

-- Records of the delivery were quarantined. Small numbers are normal: send the reasons to the sender. The keys keep
-- their last valid version until a good record arrives.
select * from {{ ref('quarantine_account') }}
