{#
    A query for `columns` of the snapshot's versions that are current before this delivery; empty before the first
    delivery. `staging` is the relation from which the snapshot is built.
#}
{% macro current_versions(columns, staging) -%}
    {%- set is_first = load_cached_relation(this) is none -%}
    select {{ columns | join(', ') }}
    from {{ staging if is_first else this }}
    where {{ '1 = 0' if is_first else 'dbt_valid_to is null' }}
{%- endmacro %}


{#
    A query for the current versions whose key arrived only in quarantined records. Quarantine never deletes: added to
    the staged rows, they keep the snapshot from treating their keys as absent. Reads the CTE `current_versions`.
#}
{% macro stale_versions(key, columns, checked) -%}
    select {{ columns_of('current_versions', columns) }}
    from current_versions
    inner join ({{ only_quarantined(key, checked) }}) as stale on current_versions.{{ key }} = stale.{{ key }}
{%- endmacro %}


{#
    A pre-hook that adds to an existing snapshot the columns that only `staging` has. dbt would add them itself, but
    only after it has treated every row as changed.
#}
{% macro add_new_columns(staging) %}
    {% set snapshot = load_cached_relation(this) if execute %}
    {% if snapshot %}
        {% set new = adapter.get_missing_columns(staging, snapshot) %}
        {% if new %}{% do alter_relation_add_remove_columns(snapshot, new, none) %}{% endif %}
    {% endif %}
{% endmacro %}
