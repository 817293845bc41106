{# A query for the keys of a delivery that arrived only in quarantined records. #}
{% macro only_quarantined(key, checked) -%}
    select {{ key }}
    from {{ checked }}
    where {{ key }} in (select {{ key }} from {{ checked }} where record_status = 'quarantined')
    group by {{ key }}
    having count(case when record_status <> 'quarantined' then 1 end) = 0
{%- endmacro %}
