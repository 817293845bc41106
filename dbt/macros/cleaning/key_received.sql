{#
    The key of a record, as received. A record that breaks at a quote is split at its commas, so that a stray quote may
    stand in its key. It must not hide whose record it is: that key's history stays open. A key that the record has
    properly quoted was read before the break, and keeps the quotes that belong to it. include/keys.py does the same.
#}
{% macro key_received(column) -%}
    case
        when malformed_reason like '%quote%'
            and not coalesce(contains(raw_record, concat('"', replace({{ column }}, '"', '""'), '"')), false)
            then replace({{ column }}, '"', '')
        else {{ column }}
    end
{%- endmacro %}
