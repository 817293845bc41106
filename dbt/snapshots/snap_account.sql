{% snapshot snap_account %}

    {{ config(
        unique_key='account_id',
        strategy='check',
        check_cols=account_columns(),
        pre_hook="{{ add_new_columns(ref('stg_account')) }}"
    ) }}
    {{ clustered_by('account_id') }}
    {% set columns = ['account_id'] + account_columns() + ['loaded_at'] %}

    -- A delivery changes both histories or none: what tests find in customers' records stops accounts, too.
    -- depends_on: {{ ref('stg_customer_checked') }}
    with current_versions as (

        {{ current_versions(columns, ref('stg_account')) }}

    ),

    staged as (

        select {{ columns | join(', ') }}
        from {{ ref('stg_account') }}

    )

    select * from staged
    union all
    {{ stale_versions('account_id', columns, ref('stg_account_checked')) }}

{% endsnapshot %}
