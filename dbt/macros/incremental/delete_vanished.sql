{#
    A post-hook for an incremental model that selects only what changed: deletes the rows whose key `current_keys` (a
    query, its refs in {{ "{{ }}" }}) does not give any more. A merge with its condition in USING, since that is the form
    that both engines take.
#}
{% macro delete_vanished(key, current_keys) -%}
    merge into {% raw %}{{ this }}{% endraw %} as held
    using (
        select existing.{{ key }}
        from {% raw %}{{ this }}{% endraw %} as existing
        left join ({{ current_keys }}) as current_keys on existing.{{ key }} = current_keys.{{ key }}
        where current_keys.{{ key }} is null
    ) as vanished
    on held.{{ key }} = vanished.{{ key }}
    when matched then delete
{%- endmacro %}
