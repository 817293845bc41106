{{ config(unique_key='customer_id') }}
{{ merge_whole_query([
    'customer_name', 'has_loan_flag', 'total_accounts_count', 'total_balance_amount', 'total_annual_interest_amount'
]) }}
{{ clustered_by('customer_id') }}

-- Totals of each customer with savings.
with summaries as (

    select * from {{ ref('account_summary') }}

),

savings as (

    select * from {{ ref('int_savings_account_only') }}

),

customers as (

    select distinct
        customer_id,
        customer_name,
        has_loan_flag
    from savings

),

totals as (

    select
        customer_id,
        count(*) as total_accounts_count,
        cast(sum(original_balance_amount) as decimal(38, 2)) as total_balance_amount,
        cast(sum(annual_interest_amount) as decimal(38, 2)) as total_annual_interest_amount
    from summaries
    group by customer_id

)

select
    totals.customer_id,
    customers.customer_name,
    customers.has_loan_flag,
    totals.total_accounts_count,
    totals.total_balance_amount,
    totals.total_annual_interest_amount,
    {{ delivered_at() }} as calculated_at
from totals
inner join customers on totals.customer_id = customers.customer_id
