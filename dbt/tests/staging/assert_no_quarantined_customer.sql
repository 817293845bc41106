{{ config(severity='warn', store_failures=true) }}

-- Records of the delivery were quarantined. Normal in small numbers: tell the sender the reasons; their keys keep the
-- last valid version until a good record arrives.
select * from {{ ref('quarantine_customer') }}
