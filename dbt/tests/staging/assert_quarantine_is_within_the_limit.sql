-- More than MAX_QUARANTINE_PCT percent of a file's records were quarantined: the file is readable but useless, or our
-- rules are wrong. No history has changed. See the reasons in quarantine_*. Have the file replaced and run the same day
-- again, or give the delivery up with discard_unfinished. If the records are right as they are, raise the limit.
{% set limit_pct = env_var('MAX_QUARANTINE_PCT', '50') %}
with checked as (

    select
        'customers' as file_name,
        record_status
    from {{ ref('stg_customer_checked') }}
    union all
    select
        'accounts' as file_name,
        record_status
    from {{ ref('stg_account_checked') }}

),

counted as (

    select
        file_name,
        count(*) as record_count,
        count(case when record_status = 'quarantined' then 1 end) as quarantined_count,
        {{ limit_pct }} as limit_pct
    from checked
    group by file_name

)

select * from counted
where quarantined_count * 100 > record_count * limit_pct
