{#
    A query for the tiers of the current delivery: the newest set whose day its delivered_at has reached. The set
    without a day applies from the beginning.
#}
{% macro rates_in_force() -%}
    select tiers.*
    from {{ ref('interest_rate_tier') }} as tiers
    inner join (
        select max(coalesce(valid_from_date, date '0001-01-01')) as newest_date
        from {{ ref('interest_rate_tier') }}
        where valid_from_date is null or cast(valid_from_date as timestamp) <= {{ delivered_at() }}
    ) as reached on coalesce(tiers.valid_from_date, date '0001-01-01') = reached.newest_date
{%- endmacro %}
