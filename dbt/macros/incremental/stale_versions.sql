{#
    Quarantine never deletes: the current version of a key that arrived in quarantined records alone is put beside what
    was staged, unchanged, so that the snapshot's hard-delete detection doesn't take the key for absent.
#}
{% macro stale_versions(key, columns, checked) %}
    {% if load_cached_relation(this) is not none %}
    union all

    select
        current_version.{{ key }},
        {%- for column in columns %}
        current_version.{{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ this }} as current_version
    inner join (
        select distinct {{ key }} from {{ checked }} where record_status = 'quarantined'
    ) as quarantined on current_version.{{ key }} = quarantined.{{ key }}
    left join (
        select {{ key }} from {{ checked }} where record_status = 'staged'
    ) as staged on current_version.{{ key }} = staged.{{ key }}
    where current_version.dbt_valid_to is null and staged.{{ key }} is null
    {% endif %}
{% endmacro %}
