{#
    The comment before each statement, by which an engine's query history and Databricks' bill can be grouped by run and
    model. The run id is written as in file names, because other characters could end the comment.
#}
{% macro query_comment(node) %}
    {% do return(tojson({
        'app': 'lc_pipeline',
        'run': env_var('PIPELINE_RUN', invocation_id),
        'node': node.name if node else none,
        'target': target.name
    })) %}
{% endmacro %}
