{#
    Put before each statement, so that an engine's query history, and Databricks' bill, can be read by run and model.
    A run's id stands here as in the names of its files: other characters could end the comment.
#}
{% macro query_comment(node) %}
    {% do return(tojson({
        'app': 'lc_pipeline',
        'run': env_var('PIPELINE_RUN', invocation_id),
        'node': node.name if node else none,
        'target': target.name
    })) %}
{% endmacro %}
