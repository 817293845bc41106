{#
    Fails for each version that begins before the version before it of the same key has ended; one that is open overlaps
    with whatever follows. Ranges are [valid_from, valid_to): one may begin where another ends.
    A failure means that two versions of one key are valid at one time, so that a join on validity doubles rows.
#}
{% test scd2_no_overlap(model, key, valid_from='dbt_valid_from', valid_to='dbt_valid_to') %}

with repeated as (

    select {{ key }} from {{ model }} group by {{ key }} having count(*) > 1

),

versions as (

    select
        version.{{ key }},
        version.{{ valid_from }},
        version.{{ valid_to }},
        row_number() over (partition by version.{{ key }} order by version.{{ valid_from }}) as version_number,
        lag(version.{{ valid_to }}) over (
            partition by version.{{ key }} order by version.{{ valid_from }}
        ) as previous_valid_to
    from {{ model }} as version
    inner join repeated on version.{{ key }} = repeated.{{ key }}

)

select *
from versions
where version_number > 1 and (previous_valid_to is null or previous_valid_to > {{ valid_from }})

{% endtest %}
