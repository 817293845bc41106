-- Cleans and judges every landed customer record once per delivery. The staging and quarantine views only select from
-- it.
-- Order matters for speed: trim, then parse, then the reasons, and those only for what failed.
with records as (

    select * from {{ ref('src_customer') }}

),

received as (

    select
        *,
        {{ key_received('customer_id') }} as key_received
    from records

),

trimmed as (

    select
        *,
        {{ clean_string('key_received') }} as customer_id_text,
        {{ clean_string('name') }} as name_text,
        {{ clean_string('has_loan') }} as has_loan_text
    from received

),

parsed as (

    select
        *,
        {{ standardize_id('customer_id_text') }} as clean_customer_id,
        {{ lower_unicode('name_text') }} as customer_name,
        case when has_loan_text is null then false else {{ standardize_boolean('has_loan_text') }} end as has_loan_flag
    from trimmed

),

checked as (

    select
        *,
        malformed_reason is null
        and clean_customer_id is not null
        and customer_name is not null
        and has_loan_flag is not null as is_valid
    from parsed

),

{{ classified('checked', key='clean_customer_id', columns=['customer_name', 'has_loan_flag']) }}

select
    classified.clean_customer_id as customer_id,
    classified.customer_name,
    classified.has_loan_flag,
    classified.source_row_number,
    classified.loaded_at,
    classified.record_status,
    case
        when classified.record_status <> 'quarantined' then null
        when classified.malformed_reason is not null then concat('malformed record: ', classified.malformed_reason)
        when classified.is_valid then 'conflicting duplicate'
        else concat_ws(
            '; ',
            {{ id_failure('classified.customer_id_text', 'customer_id') }},
            case when classified.name_text is null then 'name is missing' end,
            case when classified.has_loan_flag is null then 'has_loan is not a yes/no value' end
        )
    end as failure_reasons
from classified
