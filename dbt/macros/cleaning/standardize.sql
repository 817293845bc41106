{# All of these take the result of clean_string(), and return NULL for a value that is missing or not valid. #}

{# yes y true 1 / no n false 0 in any ASCII case -> boolean. #}
{% macro standardize_boolean(value) -%}
    case
        when lower({{ value }}) in ('yes', 'y', 'true', '1') then true
        when lower({{ value }}) in ('no', 'n', 'false', '0') then false
    end
{%- endmacro %}


{# Digits 0-9, leading zeros allowed, 1 to 9223372036854775807 -> bigint. Bare casts would take '1.5' and '1e3' on DuckDB. #}
{% macro standardize_id(value) -%}
    case when {{ is_digits(value) }} then nullif(try_cast({{ value }} as bigint), 0) end
{%- endmacro %}

{% macro is_digits(value) -%}
    regexp_extract({{ value }}, '^[0-9]+$', 0) = {{ value }}
{%- endmacro %}


{# [+-]?digits[.digits], not below zero, at most 16 integer digits after rounding half away from zero -> decimal(18,2). #}
{% macro standardize_amount(value) -%}
    case
        when {{ is_amount(value) }} and not {{ is_negative(value) }}
            then try_cast({{ deciding_digits(value) }} as decimal(18, 2))
    end
{%- endmacro %}

{#
    The digits of a long amount that decide its value as decimal(18,2): the first 17 before the point without leading
    zeros (17 are already too many), and three after it. Spark needs 40 s to cast a million digits.
#}
{% macro deciding_digits(value) -%}
    case
        when length({{ value }}) <= 30 then {{ value }}
        else concat(
            '0', left(regexp_extract({{ value }}, '^[+-]?0*([0-9]*)', 1), 17),
            '.', left(regexp_extract({{ value }}, '[.]([0-9]*)$', 1), 3), '0'
        )
    end
{%- endmacro %}

{% macro is_amount(value) -%}
    regexp_extract({{ value }}, '^[+-]?[0-9]+([.][0-9]+)?$', 0) = {{ value }}
{%- endmacro %}

{# Before rounding: -0.001 is negative, -0.00 is zero. #}
{% macro is_negative(value) -%}
    ({{ value }} like '-%' and regexp_extract({{ value }}, '[1-9]', 0) <> '')
{%- endmacro %}


{# A keyword of the given list in any ASCII case -> lower case. Outside ASCII, lower() would make a k of the Kelvin sign. #}
{% macro standardize_keyword(value, keywords) -%}
    case when {{ is_ascii(value) }} and lower({{ value }}) in ('{{ keywords | join("', '") }}') then lower({{ value }}) end
{%- endmacro %}


{# The reason why standardize_id() returned NULL, or NULL if it did not. #}
{% macro id_failure(value, column) -%}
    case
        when {{ value }} is null then '{{ column }} is missing'
        when not {{ is_digits(value) }} then '{{ column }} is not a whole number'
        when try_cast({{ value }} as bigint) is null then '{{ column }} is over 9223372036854775807'
        when try_cast({{ value }} as bigint) = 0 then '{{ column }} is zero'
    end
{%- endmacro %}
