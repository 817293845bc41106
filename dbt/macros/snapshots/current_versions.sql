{#
    A query for the versions of the snapshot being built that are current before this delivery: `columns`, and none before
    the first delivery. `staging` is the relation that the snapshot is made from.
#}
{% macro current_versions(columns, staging) -%}
    {%- set is_first = load_cached_relation(this) is none -%}
    select {{ columns | join(', ') }}
    from {{ staging if is_first else this }}
    where {{ '1 = 0' if is_first else 'dbt_valid_to is null' }}
{%- endmacro %}


{#
    A query for the current versions whose key arrived in quarantined records alone. Quarantine never deletes: put beside
    what was staged, they keep the snapshot from taking their keys for absent. Reads the CTEs `current_versions` and
    `staged`.
#}
{% macro stale_versions(key, columns, checked) -%}
    select {{ columns_of('current_versions', columns) }}
    from current_versions
    inner join (
        select distinct {{ key }} from {{ checked }} where record_status = 'quarantined'
    ) as quarantined on current_versions.{{ key }} = quarantined.{{ key }}
    left join staged on current_versions.{{ key }} = staged.{{ key }}
    where staged.{{ key }} is null
{%- endmacro %}


{#
    A pre-hook that adds to an existing snapshot the columns that `staging` has beside it. dbt would add them itself, but
    only after it has taken every row for changed.
#}
{% macro add_new_columns(staging) %}
    {% set snapshot = load_cached_relation(this) if execute %}
    {% if snapshot %}
        {% set new = adapter.get_missing_columns(staging, snapshot) %}
        {% if new %}{% do alter_relation_add_remove_columns(snapshot, new, none) %}{% endif %}
    {% endif %}
{% endmacro %}
