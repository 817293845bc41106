{{ config(unique_key='account_id') }}
{{ merge_whole_query(account_columns() + customer_columns() + ['valid_from_at']) }}
{{ clustered_by('account_id') }}

-- The accounts that bear interest.
select * from {{ ref('int_account_with_customer') }}
where account_type = 'savings'
