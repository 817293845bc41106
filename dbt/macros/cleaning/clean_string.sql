{#
    A string as received -> trimmed of space, tab, CR and LF, or NULL where it counts as missing.
    Bare trim would strip other Unicode spaces too on DuckDB, and only spaces on Databricks.
    lower() is safe here: no character outside ASCII turns into a letter of these keywords.
#}
{% macro clean_string(value) -%}
    case
        when lower({{ trimmed(value) }}) in ('', 'null', 'n/a', 'none') then null
        else {{ trimmed(value) }}
    end
{%- endmacro %}

{# Few strings have anything to trim, and trim() costs much more than a look at both ends. #}
{% macro trimmed(value) -%}
    case
        when left({{ value }}, 1) > ' ' and right({{ value }}, 1) > ' ' then {{ value }}
        else trim(both concat(' ', chr(9), chr(10), chr(13)) from {{ value }})
    end
{%- endmacro %}


{#
    Lower case by simple Unicode mapping (one character to one) on both engines, which differ on the Turkish dotted I
    and the final sigma. translate() costs twenty times what lower() does, hence only where there is something outside ASCII.
#}
{% macro lower_unicode(value) -%}
    case
        when {{ is_ascii(value) }} then lower({{ value }})
        else lower(translate({{ value }}, 'İΣ', 'iσ'))
    end
{%- endmacro %}

{% macro is_ascii(value) -%}
    bit_length({{ value }}) = 8 * length({{ value }})
{%- endmacro %}
