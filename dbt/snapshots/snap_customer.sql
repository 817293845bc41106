{% snapshot snap_customer %}

    {{ config(
        unique_key='customer_id',
        strategy='timestamp',
        updated_at='loaded_at',
        pre_hook="{{ add_new_columns(ref('stg_customer')) }}"
    ) }}
    {{ clustered_by('customer_id') }}
    {% set columns = ['customer_id'] + customer_columns() + ['loaded_at'] %}

    -- A delivery changes both histories or none: what tests find in accounts' records stops customers, too.
    -- depends_on: {{ ref('stg_account_checked') }}
    with current_versions as (

        {{ current_versions(columns, ref('stg_customer')) }}

    ),

    -- A version's loaded_at is kept while the cleaned values are the same, so that only a difference makes a new one.
    staged as (

        select
            customers.customer_id,
            {{ columns_of('customers', customer_columns()) }},
            case
                when {{ same_in(customer_columns(), 'customers', 'current_versions') }} then current_versions.loaded_at
                else {{ delivered_at() }}
            end as loaded_at
        from {{ ref('stg_customer') }} as customers
        left join current_versions on customers.customer_id = current_versions.customer_id

    )

    select * from staged
    union all
    {{ stale_versions('customer_id', columns, ref('stg_customer_checked')) }}

{% endsnapshot %}
