-- Cleans and judges every landed account record once per delivery. The staging and quarantine views only select from
-- it.
-- Order matters for speed: trim, then parse, then the reasons, and those only for what failed.
with records as (

    select * from {{ ref('src_account') }}

),

received as (

    select
        *,
        {{ key_received('account_id') }} as key_received
    from records

),

trimmed as (

    select
        *,
        {{ clean_string('key_received') }} as clean_account_id,
        {{ clean_string('customer_id') }} as customer_id_text,
        {{ clean_string('balance') }} as balance_text,
        {{ clean_string('account_type') }} as account_type_text
    from received

),

parsed as (

    select
        *,
        {{ standardize_id('customer_id_text') }} as clean_customer_id,
        {{ standardize_amount('balance_text') }} as balance_amount,
        {{ standardize_keyword('account_type_text', account_types()) }} as clean_account_type
    from trimmed

),

checked as (

    select
        *,
        malformed_reason is null
        and clean_account_id is not null
        and clean_customer_id is not null
        and balance_amount is not null
        and clean_account_type is not null as is_valid
    from parsed

),

{{ classified(
    'checked',
    key='clean_account_id',
    columns=['clean_customer_id', 'balance_amount', 'clean_account_type']
) }}

select
    classified.clean_account_id as account_id,
    classified.clean_customer_id as customer_id,
    classified.balance_amount,
    classified.clean_account_type as account_type,
    classified.source_row_number,
    classified.loaded_at,
    classified.record_status,
    case
        when classified.record_status <> 'quarantined' then null
        when classified.malformed_reason is not null then concat('malformed record: ', classified.malformed_reason)
        when classified.is_valid then 'conflicting duplicate'
        else concat_ws(
            '; ',
            case when classified.clean_account_id is null then 'account_id is missing' end,
            {{ id_failure('classified.customer_id_text', 'customer_id') }},
            case
                when classified.balance_text is null then 'balance is missing'
                when not {{ is_amount('classified.balance_text') }} then 'balance is not a number'
                when {{ is_negative('classified.balance_text') }} then 'balance is negative'
                when classified.balance_amount is null then 'balance has more than 16 integer digits'
            end,
            case
                when classified.account_type_text is null then 'account_type is missing'
                when classified.clean_account_type is null
                    then 'account_type is not {{ account_types() | join(" or ") }}'
            end
        )
    end as failure_reasons
from classified
