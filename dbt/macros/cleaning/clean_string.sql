{#
    A string as received -> trimmed of white space and invisible characters, or NULL if it counts as missing. lower() is
    safe here: it turns no character outside ASCII into a letter of these keywords.
#}
{% macro clean_string(value) -%}
    case
        when lower({{ trimmed(value) }}) in ('', 'null', 'n/a', 'none') then null
        else {{ trimmed(value) }}
    end
{%- endmacro %}

{#
    The characters are listed, since a bare trim() removes different ones on each engine. Few strings need trimming, and
    trim() costs much more than checking both ends: all visible ASCII characters are between '!' and '~'.
#}
{% macro trimmed(value) -%}
    case
        when left({{ value }}, 1) between '!' and '~' and right({{ value }}, 1) between '!' and '~' then {{ value }}
        else trim(both {{ blanks() }} from {{ value }})
    end
{%- endmacro %}

{# Unicode white space, and the zero width space, word joiner and byte order mark, which nobody sees in a file. #}
{% macro blanks() -%}
    concat(
        ' ', chr(9), chr(10), chr(11), chr(12), chr(13),
        '{{ "\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a" }}',
        '{{ "\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff" }}'
    )
{%- endmacro %}


{#
    Lower case by simple Unicode mapping (one character to one) on both engines, which differ on the Turkish dotted I
    and the final sigma. translate() costs twenty times as much as lower(), so it is used only for text outside ASCII.
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
