{#
    Restricts an incremental model to the rows of `cte` that differ from what the model holds: a join to put behind
    `from <cte>`. Contents decide and not a time watermark, since a customer version can begin before the delivery that
    made it; the look-back on `time` only widens what is looked at again. Empty on a full refresh.
#}
{% macro only_changed(cte, key, columns, time) %}
    {%- if is_incremental() -%}
    left join {{ this }} as held on {{ cte }}.{{ key }} = held.{{ key }}
    where
        {{ differs(cte, key, columns) }}
        or {{ time }} >= {{ delivered_at() }} - interval {{ lookback_days() }} days
    {%- endif -%}
{% endmacro %}


{# When a mart's row last changed: this delivery, or what the row already says where nothing else in it differs. #}
{% macro calculated_at(cte, key, columns) -%}
    {%- if is_incremental() -%}
    case when {{ differs(cte, key, columns) }} then {{ delivered_at() }} else held.calculated_at end
    {%- else -%}
    {{ delivered_at() }}
    {%- endif -%}
{%- endmacro %}


{% macro differs(cte, key, columns) -%}
    (
        held.{{ key }} is null
        {%- for column in columns %}
        or {{ cte }}.{{ column }} is distinct from held.{{ column }}
        {%- endfor %}
    )
{%- endmacro %}


{# Days before the current delivery whose rows are looked at again although nothing in them differs. #}
{% macro lookback_days() %}{% do return(env_var('INCREMENTAL_LOOKBACK_DAYS', '3') | int) %}{% endmacro %}
