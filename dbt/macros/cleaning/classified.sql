{#
    CTEs that end in `classified`: the records of the CTE `checked`, each with its record_status. Records of one key that
    are valid by themselves and the same in `columns` are copies: the earliest loaded_at, then the lowest row number, is
    staged. Where they differ, all of them are quarantined.

    Repeated keys are found over all records, valid or not: a filter on is_valid would be pushed down below the
    cleaning, which would then run twice. Window functions over all records cost far more than over the few with repeated
    keys.
#}
{% macro classified(checked, key, columns) -%}
repeated_keys as (

    select {{ key }}
    from {{ checked }}
    group by {{ key }}
    having count(*) > 1

),

repeated as (

    select {{ checked }}.*
    from {{ checked }}
    inner join repeated_keys on {{ checked }}.{{ key }} = repeated_keys.{{ key }}

),

-- Distinct and not min() <> max(): a copy with a NULL differs from one without.
spellings as (

    select distinct
        {{ key }},
        is_valid,
        {{ columns | join(',\n        ') }}
    from repeated

),

conflicts as (

    select
        {{ key }},
        is_valid
    from spellings
    group by {{ key }}, is_valid
    having count(*) > 1

),

copies as (

    select
        repeated.source_row_number,
        conflicts.{{ key }} is not null as is_conflict,
        row_number() over (
            partition by repeated.{{ key }}, repeated.is_valid
            order by repeated.loaded_at, repeated.source_row_number
        ) as copy_number
    from repeated
    left join conflicts
        on repeated.{{ key }} = conflicts.{{ key }} and repeated.is_valid = conflicts.is_valid

),

classified as (

    select
        {{ checked }}.*,
        case
            when not {{ checked }}.is_valid or copies.is_conflict then 'quarantined'
            when copies.copy_number > 1 then 'duplicate'
            else 'staged'
        end as record_status
    from {{ checked }}
    left join copies on {{ checked }}.source_row_number = copies.source_row_number

)
{%- endmacro %}
