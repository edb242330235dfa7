"""Facts of Terraform's resources: by type the kind, its name, and where each fact stands."""

from cloudformation import Reference
from facts import alarms_of, at, decoded, each, last_of_arn, pairs, policy, read, truth, unordered, variables


def keys(values):
    return {"HASH": values["hash_key"], "RANGE": values["range_key"]}


def indexes(values):
    return [
        {"name": index["name"], "keys": keys(index), "projection": index["projection_type"]}
        for index in values["global_secondary_index"]
    ]


def metrics(values):
    queries = [
        {
            "id": query["id"],
            "expression": query.get("expression"),
            "label": query.get("label"),
            "return": query.get("return_data"),
            "namespace": at(query, "metric.namespace"),
            "metric": at(query, "metric.metric_name"),
            "dimensions": at(query, "metric.dimensions"),
            "statistic": at(query, "metric.stat"),
            "period_s": at(query, "metric.period"),
        }
        for query in values.get("metric_query") or []
    ]
    return unordered(queries)


def container(path, as_=None):
    return read(f"container_properties.{path}", as_)


def in_list(reader):
    """For what CloudFormation keeps several of and Terraform one."""
    return lambda values: [reader(values)]


def target(values):
    return [
        {
            "id": values["target_id"],
            "arn": values["arn"],
            "group": at(values, "sqs_target.message_group_id"),
            "dead_letters": at(values, "dead_letter_config.arn"),
            "age_s": at(values, "retry_policy.maximum_event_age_in_seconds"),
            "retries": at(values, "retry_policy.maximum_retry_attempts"),
        }
    ]


TAGS = {"tags": read("tags")}

# Type: (kind, its name, facts). Several types may tell of one thing.
TYPES = {
    "aws_kms_key": (
        "key",
        lambda values: "the yard's",
        {
            "description": read("description"),
            "rotation": read("enable_key_rotation"),
            "policy": read("policy", policy),
            **TAGS,
        },
    ),
    "aws_kms_alias": ("alias", read("name"), {"key": read("target_key_id")}),
    "aws_dynamodb_table": (
        "table",
        read("name"),
        {
            "billing": read("billing_mode"),
            "attributes": read("attribute", lambda held: pairs(held, "name", "type")),
            "keys": keys,
            "indexes": indexes,
            "ttl attribute": read("ttl.attribute_name"),
            "ttl enabled": read("ttl.enabled"),
            "encryption": read("server_side_encryption.enabled"),
            "encryption key": read("server_side_encryption.kms_key_arn"),
            "point in time recovery": read("point_in_time_recovery.enabled"),
            "deletion protection": read("deletion_protection_enabled"),
            **TAGS,
        },
    ),
    "aws_s3_bucket": ("bucket", read("bucket"), TAGS),
    "aws_s3_bucket_server_side_encryption_configuration": (
        "bucket",
        read("bucket"),
        {
            "encryption": each(
                "rule",
                algorithm="apply_server_side_encryption_by_default.sse_algorithm",
                key="apply_server_side_encryption_by_default.kms_master_key_id",
                bucket_key="bucket_key_enabled",
            )
        },
    ),
    "aws_s3_bucket_public_access_block": (
        "bucket",
        read("bucket"),
        {
            "block public acls": read("block_public_acls"),
            "block public policy": read("block_public_policy"),
            "ignore public acls": read("ignore_public_acls"),
            "restrict public": read("restrict_public_buckets"),
        },
    ),
    "aws_s3_bucket_ownership_controls": (
        "bucket",
        read("bucket"),
        {"ownership": read("rule.object_ownership")},
    ),
    "aws_s3_bucket_lifecycle_configuration": (
        "bucket",
        read("bucket"),
        {
            "lifecycle": each(
                "rule",
                id="id",
                status="status",
                prefix="filter.prefix",
                abort_days="abort_incomplete_multipart_upload.days_after_initiation",
                expire_days="expiration.days",
            )
        },
    ),
    "aws_s3_bucket_policy": ("bucket", read("bucket"), {"policy": read("policy", policy)}),
    "aws_secretsmanager_secret": (
        "secret",
        read("name"),
        {"description": read("description"), "key": read("kms_key_id"), **TAGS},
    ),
    "aws_sqs_queue": (
        "queue",
        read("name"),
        {
            "fifo": read("fifo_queue"),
            "content-based deduplication": read("content_based_deduplication"),
            "deduplication scope": read("deduplication_scope"),
            "throughput limit": read("fifo_throughput_limit"),
            "visibility_s": read("visibility_timeout_seconds"),
            "retention_s": read("message_retention_seconds"),
            "max_message_bytes": read("max_message_size"),
            "key": read("kms_master_key_id"),
            # Without a key, the plan says 0.
            "data key reuse_s": read("kms_data_key_reuse_period_seconds", lambda held: held or None),
            "SQS's own key": read("sqs_managed_sse_enabled", lambda held: held is True or None),
            # Where a queue has none, the plan leaves it to AWS.
            "redrive": read("redrive_policy", lambda held: None if isinstance(held, Reference) else held),
            "policy": read("policy", policy),
            **TAGS,
        },
    ),
    "aws_cloudwatch_event_rule": (
        "rule",
        read("name"),
        {
            "state": read("state"),
            "pattern": read("event_pattern"),
            "schedule": read("schedule_expression"),
            **TAGS,
        },
    ),
    "aws_cloudwatch_event_target": ("rule", read("rule"), {"targets": target}),
    "aws_cloudwatch_log_group": ("log group", read("name"), {"retention_days": read("retention_in_days"), **TAGS}),
    "aws_iam_role": (
        "role",
        read("name"),
        {"principal": read("assume_role_policy", policy), **TAGS},
    ),
    "aws_iam_role_policy": (
        "role",
        read("role"),
        {"policies": lambda values: [{"name": values["name"], "statements": policy(values["policy"])}]},
    ),
    "aws_iam_instance_profile": ("instance profile", read("name"), {"roles": in_list(read("role"))}),
    "aws_lambda_function": (
        "function",
        read("function_name"),
        {
            "runtime": read("runtime"),
            "architectures": read("architectures"),
            "handler": read("handler"),
            "role": read("role"),
            "timeout_s": read("timeout"),
            "memory_mb": read("memory_size"),
            "environment": read("environment.variables", variables),
            "log group": read("logging_config.log_group"),
            "log format": read("logging_config.log_format"),
            **TAGS,
        },
    ),
    "aws_lambda_function_recursion_config": (
        "function",
        read("function_name"),
        {"recursive loop": read("recursive_loop")},
    ),
    "aws_lambda_event_source_mapping": (
        "mapping",
        lambda values: f"{last_of_arn(values['event_source_arn'])} to {values['function_name']}",
        {
            "batch size": read("batch_size"),
            "responses": read("function_response_types"),
            "concurrency": read("scaling_config.maximum_concurrency"),
            "pollers, least": read("provisioned_poller_config.minimum_pollers"),
            "pollers, most": read("provisioned_poller_config.maximum_pollers"),
            **TAGS,
        },
    ),
    "aws_lambda_permission": (
        "permission",
        lambda values: f"{values['principal']} for {values['function_name']}",
        {"action": read("action"), "source": read("source_arn")},
    ),
    "aws_lambda_function_event_invoke_config": (
        "invoke configuration",
        read("function_name"),
        {
            "qualifier": read("qualifier"),
            "age_s": read("maximum_event_age_in_seconds"),
            "retries": read("maximum_retry_attempts"),
            "on failure": read("destination_config.on_failure.destination"),
        },
    ),
    "aws_apigatewayv2_api": ("api", read("name"), {"protocol": read("protocol_type"), **TAGS}),
    "aws_apigatewayv2_integration": (
        "integration",
        lambda values: last_of_arn(values["integration_uri"]),
        {
            "api": read("api_id"),
            "type": read("integration_type"),
            "method": read("integration_method"),
            "function": read("integration_uri"),
            "payload format": read("payload_format_version"),
            "timeout_ms": read("timeout_milliseconds"),
        },
    ),
    "aws_apigatewayv2_route": (
        "route",
        read("route_key"),
        {"api": read("api_id"), "authorization": read("authorization_type"), "target": read("target")},
    ),
    "aws_apigatewayv2_stage": (
        "stage",
        read("name"),
        {
            "api": read("api_id"),
            "deploys itself": read("auto_deploy"),
            "requests_per_s": read("default_route_settings.throttling_rate_limit"),
            "burst": read("default_route_settings.throttling_burst_limit"),
            "access log": read("access_log_settings.destination_arn"),
            "access log format": read("access_log_settings.format"),
            **TAGS,
        },
    ),
    "aws_vpc": (
        "network",
        read("cidr_block"),
        {"dns hostnames": read("enable_dns_hostnames"), "dns support": read("enable_dns_support"), **TAGS},
    ),
    "aws_internet_gateway": ("gateway", lambda values: "the network's", {"network": read("vpc_id"), **TAGS}),
    "aws_route_table": ("route table", lambda values: "the network's", {"network": read("vpc_id"), **TAGS}),
    "aws_route": (
        "way out",
        read("destination_cidr_block"),
        {"table": read("route_table_id"), "gateway": read("gateway_id")},
    ),
    "aws_subnet": (
        "subnet",
        read("cidr_block"),
        {"network": read("vpc_id"), "public addresses": read("map_public_ip_on_launch"), **TAGS},
    ),
    "aws_route_table_association": (
        "association",
        None,
        {"subnet": read("subnet_id"), "table": read("route_table_id")},
    ),
    "aws_vpc_endpoint": (
        "endpoint",
        read("service_name"),
        {
            "network": read("vpc_id"),
            "type": read("vpc_endpoint_type"),
            "tables": read("route_table_ids"),
            **TAGS,
        },
    ),
    "aws_security_group": (
        "security group",
        read("name"),
        {
            "description": read("description"),
            "in": each("ingress", protocol="protocol"),
            "out": each(
                "egress",
                protocol="protocol",
                first_port="from_port",
                last_port="to_port",
                to=lambda rule: rule["cidr_blocks"][0],
                says="description",
            ),
            **TAGS,
        },
    ),
    "aws_launch_template": (
        "launch template",
        read("name"),
        {
            "metadata tokens": read("metadata_options.http_tokens"),
            "metadata endpoint": read("metadata_options.http_endpoint"),
            "metadata hops": read("metadata_options.http_put_response_hop_limit"),
            "volumes": each(
                "block_device_mappings",
                device="device_name",
                type="ebs.volume_type",
                size_gb="ebs.volume_size",
                encrypted=read("ebs.encrypted", truth),
                goes=read("ebs.delete_on_termination", truth),
            ),
            "user data": read("user_data", decoded),
        },
    ),
    "aws_batch_compute_environment": (
        "compute environment",
        read("compute_environment_name"),
        {
            "type": read("type"),
            "state": read("state"),
            "update ends jobs": read("update_policy.terminate_jobs_on_update"),
            "update waits_min": read("update_policy.job_execution_timeout_minutes"),
            "machines are": read("compute_resources.type"),
            "allocation": read("compute_resources.allocation_strategy"),
            "vcpus, least": read("compute_resources.min_vcpus"),
            "vcpus, most": read("compute_resources.max_vcpus"),
            "machines": read("compute_resources.instance_type", sorted),
            "instance profile": read("compute_resources.instance_role"),
            "security group": read("compute_resources.security_group_ids"),
            "images": each("compute_resources.ec2_configuration", type="image_type"),
            "launch template": read("compute_resources.launch_template.launch_template_name"),
            "launch template version": read("compute_resources.launch_template.version"),
            "tags of machines": read("compute_resources.tags"),
            **TAGS,
        },
    ),
    "aws_batch_scheduling_policy": (
        "scheduling policy",
        read("name"),
        {
            "decay_s": read("fair_share_policy.share_decay_seconds"),
            "shares": read(
                "fair_share_policy.share_distribution", lambda held: pairs(held, "share_identifier", "weight_factor")
            ),
            **TAGS,
        },
    ),
    "aws_batch_job_queue": (
        "job queue",
        read("name"),
        {
            "state": read("state"),
            "priority": read("priority"),
            "policy": read("scheduling_policy_arn"),
            "environments": each("compute_environment_order", order="order", environment="compute_environment"),
            "limits": each(
                "job_state_time_limit_action",
                reason="reason",
                state="state",
                action="action",
                time_s="max_time_seconds",
            ),
            **TAGS,
        },
    ),
    "aws_batch_job_definition": (
        "job definition",
        read("name"),
        {
            "type": read("type"),
            "platforms": read("platform_capabilities"),
            "tags tasks": read("propagate_tags"),
            "priority": read("scheduling_priority"),
            "image": container("image"),
            "command": container("command"),
            "job role": container("jobRoleArn"),
            "execution role": container("executionRoleArn"),
            "environment": container("environment", lambda held: pairs(held, "name", "value")),
            "resources": container("resourceRequirements", lambda held: pairs(held, "type", "value")),
            "mounts": container("mountPoints"),
            "volumes": container("volumes"),
            "log": container("logConfiguration"),
            "attempts": read("retry_strategy.attempts"),
            "exits": each(
                "retry_strategy.evaluate_on_exit",
                action=read("action", str.upper),
                status_reason="on_status_reason",
                reason="on_reason",
                code="on_exit_code",
            ),
            "timeout_s": read("timeout.attempt_duration_seconds"),
            **TAGS,
        },
    ),
    "aws_sns_topic": (
        "topic",
        read("name"),
        {"key": read("kms_master_key_id"), "policy": read("policy", policy), **TAGS},
    ),
    "aws_sns_topic_subscription": (
        "subscription",
        lambda values: f"{values['endpoint']} to {last_of_arn(values['topic_arn'])}",
        {"protocol": read("protocol")},
    ),
    "aws_cloudwatch_metric_alarm": (
        "alarm",
        read("alarm_name"),
        {
            "description": read("alarm_description"),
            "comparison": read("comparison_operator"),
            "threshold": read("threshold"),
            "periods": read("evaluation_periods"),
            "datapoints": read("datapoints_to_alarm"),
            "silence": read("treat_missing_data"),
            "alarm tells": read("alarm_actions"),
            "ok tells": read("ok_actions"),
            "namespace": read("namespace"),
            "metric": read("metric_name"),
            "statistic": read("statistic"),
            "dimensions": read("dimensions"),
            "period_s": read("period"),
            "metrics": metrics,
            **TAGS,
        },
    ),
    "aws_cloudwatch_composite_alarm": (
        "alarm of alarms",
        read("alarm_name"),
        {
            "description": read("alarm_description"),
            "rule": read("alarm_rule", alarms_of),
            "alarm tells": read("alarm_actions"),
            "ok tells": read("ok_actions"),
            **TAGS,
        },
    ),
    "aws_cloudwatch_dashboard": ("dashboard", read("dashboard_name"), {"body": read("dashboard_body")}),
}

# What a plan says of arguments that nobody gave.
DEFAULTS = {
    "aws_apigatewayv2_api": {
        "api_key_selection_expression": "$request.header.x-api-key",
        "route_selection_expression": "$request.method $request.path",
    },
    "aws_apigatewayv2_integration": {"connection_type": "INTERNET"},
    "aws_batch_job_definition": {"deregister_on_new_revision": True},
    "aws_cloudwatch_composite_alarm": {"actions_enabled": True},
    "aws_cloudwatch_event_rule": {"event_bus_name": "default"},
    "aws_cloudwatch_event_target": {"event_bus_name": "default"},
    "aws_cloudwatch_metric_alarm": {"actions_enabled": True},
    "aws_iam_instance_profile": {"path": "/"},
    "aws_iam_role": {"path": "/", "max_session_duration": 3_600},
    "aws_kms_key": {
        "customer_master_key_spec": "SYMMETRIC_DEFAULT",
        "is_enabled": True,
        "key_usage": "ENCRYPT_DECRYPT",
    },
    "aws_lambda_event_source_mapping": {"enabled": True},
    "aws_lambda_function": {"package_type": "Zip", "reserved_concurrent_executions": -1},
    "aws_s3_bucket_lifecycle_configuration": {
        "transition_default_minimum_object_size": "all_storage_classes_128K"
    },
    # For endpoints that confirm by themselves, as no mailbox does.
    "aws_sns_topic_subscription": {"confirmation_timeout_in_minutes": 1},
    "aws_sqs_queue": {"max_message_size": 262_144},
    "aws_vpc": {"instance_tenancy": "default"},
}


def says_nothing(type_, place, value):
    """A plan has every argument, given or not."""
    defaults = DEFAULTS.get(type_, {})
    return place == "tags_all" or (value == defaults[place] if place in defaults else not value)
