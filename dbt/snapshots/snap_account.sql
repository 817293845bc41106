{% snapshot snap_account %}

    {{ config(unique_key='account_id', strategy='check', check_cols=['customer_id', 'balance_amount', 'account_type']) }}
    {{ clustered_by('account_id') }}

    -- A delivery changes both histories or none: what tests find in customers' records stops accounts, too.
    -- depends_on: {{ ref('stg_customer_checked') }}
    select
        account_id,
        customer_id,
        balance_amount,
        account_type,
        loaded_at
    from {{ ref('stg_account') }}
    {{ stale_versions(
        'account_id', ['customer_id', 'balance_amount', 'account_type', 'loaded_at'], ref('stg_account_checked')
    ) }}

{% endsnapshot %}
