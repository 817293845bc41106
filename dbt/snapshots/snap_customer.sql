{% snapshot snap_customer %}

    {{ config(unique_key='customer_id', strategy='timestamp', updated_at='loaded_at') }}
    {{ clustered_by('customer_id') }}

    -- A version begins at its record's loaded_at, which can lie before this delivery (the record first arrived in a conflict).
    -- A delivery changes both histories or none: what tests find in accounts' records stops customers, too.
    -- depends_on: {{ ref('stg_account_checked') }}
    select
        customer_id,
        customer_name,
        has_loan_flag,
        loaded_at
    from {{ ref('stg_customer') }}
    {{ stale_versions('customer_id', ['customer_name', 'has_loan_flag', 'loaded_at'], ref('stg_customer_checked')) }}

{% endsnapshot %}
