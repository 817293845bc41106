{#
    Restricts an incremental model to the rows of `cte` that differ from what the model holds: a join to put behind
    `from <cte>`. Contents decide and not a time watermark, since a customer version can begin before the delivery that
    made it; the look-back on `time` only widens what is looked at again. Empty on a full refresh.
#}
{% macro only_changed(cte, key, columns, time) %}
    {%- if is_incremental() -%}
    left join {{ this }} as held on {{ cte }}.{{ key }} = held.{{ key }}
    where
        held.{{ key }} is null
        or {{ differ(columns, cte, 'held') }}
        or {{ time }} >= {{ delivered_at() }} - interval {{ lookback_days() }} days
    {%- endif -%}
{% endmacro %}


{# Whether two rows differ in any of `columns`. #}
{% macro differ(columns, one, other) -%}
    (
        {%- for column in columns %}
        {{ one }}.{{ column }} is distinct from {{ other }}.{{ column }}
        {{- ' or' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}


{# Days before the current delivery whose rows are looked at again although nothing in them differs. #}
{% macro lookback_days() %}{% do return(env_var('INCREMENTAL_LOOKBACK_DAYS', '3') | int) %}{% endmacro %}
