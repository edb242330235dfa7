"""Facts of CloudFormation's resources: by type the kind, its name, and where each fact stands."""

from facts import alarms_of, at, decoded, each, last_of_arn, pairs, parsed, policy, read, tags, unordered, variables


def keys(held):
    return pairs(held, "KeyType", "AttributeName")


def metrics(values):
    queries = [
        {
            "id": query["Id"],
            "expression": query.get("Expression"),
            "label": query.get("Label"),
            "return": query.get("ReturnData"),
            "namespace": at(query, "MetricStat.Metric.Namespace"),
            "metric": at(query, "MetricStat.Metric.MetricName"),
            "dimensions": pairs(at(query, "MetricStat.Metric.Dimensions")),
            "statistic": at(query, "MetricStat.Stat"),
            "period_s": at(query, "MetricStat.Period"),
        }
        for query in values.get("Metrics", [])
    ]
    return unordered(queries)


def lower(value):
    """With names as Batch's own JSON has them."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: lower(held) for key, held in value.items()}
    return [lower(item) for item in value] if isinstance(value, list) else value


def container(name):
    return read(f"ContainerProperties.{name}", lower)


TAGS = {"tags": read("Tags", tags)}
TARGETS = each(
    "Targets",
    id="Id",
    arn="Arn",
    group="SqsParameters.MessageGroupId",
    dead_letters="DeadLetterConfig.Arn",
    age_s="RetryPolicy.MaximumEventAgeInSeconds",
    retries="RetryPolicy.MaximumRetryAttempts",
)

# Type: (kind, its name, facts). Several types may tell of one thing.
TYPES = {
    "AWS::KMS::Key": (
        "key",
        lambda values: "the yard's",
        {
            "description": read("Description"),
            "rotation": read("EnableKeyRotation"),
            "policy": read("KeyPolicy", policy),
            **TAGS,
        },
    ),
    "AWS::KMS::Alias": ("alias", read("AliasName"), {"key": read("TargetKeyId")}),
    "AWS::DynamoDB::Table": (
        "table",
        read("TableName"),
        {
            "billing": read("BillingMode"),
            "attributes": read("AttributeDefinitions", lambda held: pairs(held, "AttributeName", "AttributeType")),
            "keys": read("KeySchema", keys),
            "indexes": each(
                "GlobalSecondaryIndexes",
                name="IndexName",
                keys=read("KeySchema", keys),
                projection="Projection.ProjectionType",
            ),
            "ttl attribute": read("TimeToLiveSpecification.AttributeName"),
            "ttl enabled": read("TimeToLiveSpecification.Enabled"),
            "encryption": read("SSESpecification.SSEEnabled"),
            "encryption key": read("SSESpecification.KMSMasterKeyId"),
            "point in time recovery": read("PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled"),
            "deletion protection": read("DeletionProtectionEnabled"),
            **TAGS,
        },
    ),
    "AWS::S3::Bucket": (
        "bucket",
        read("BucketName"),
        {
            "encryption": each(
                "BucketEncryption.ServerSideEncryptionConfiguration",
                algorithm="ServerSideEncryptionByDefault.SSEAlgorithm",
                key="ServerSideEncryptionByDefault.KMSMasterKeyID",
                bucket_key="BucketKeyEnabled",
            ),
            "block public acls": read("PublicAccessBlockConfiguration.BlockPublicAcls"),
            "block public policy": read("PublicAccessBlockConfiguration.BlockPublicPolicy"),
            "ignore public acls": read("PublicAccessBlockConfiguration.IgnorePublicAcls"),
            "restrict public": read("PublicAccessBlockConfiguration.RestrictPublicBuckets"),
            "ownership": read("OwnershipControls.Rules.ObjectOwnership"),
            "lifecycle": each(
                "LifecycleConfiguration.Rules",
                id="Id",
                status="Status",
                prefix="Prefix",
                abort_days="AbortIncompleteMultipartUpload.DaysAfterInitiation",
                expire_days="ExpirationInDays",
            ),
            **TAGS,
        },
    ),
    "AWS::S3::BucketPolicy": ("bucket", read("Bucket"), {"policy": read("PolicyDocument", policy)}),
    "AWS::SecretsManager::Secret": (
        "secret",
        read("Name"),
        {"description": read("Description"), "key": read("KmsKeyId"), **TAGS},
    ),
    "AWS::SQS::Queue": (
        "queue",
        read("QueueName"),
        {
            "fifo": read("FifoQueue", default=False),
            "content-based deduplication": read("ContentBasedDeduplication", default=False),
            "deduplication scope": read("DeduplicationScope"),
            "throughput limit": read("FifoThroughputLimit"),
            "visibility_s": read("VisibilityTimeout", default=30),
            "retention_s": read("MessageRetentionPeriod"),
            "max_message_bytes": read("MaximumMessageSize"),
            "key": read("KmsMasterKeyId"),
            "data key reuse_s": read("KmsDataKeyReusePeriodSeconds"),
            "SQS's own key": read("SqsManagedSseEnabled"),
            "redrive": read("RedrivePolicy"),
            **TAGS,
        },
    ),
    "AWS::SQS::QueuePolicy": (
        "queue",
        lambda values: last_of_arn(at(values, "Queues")[0]),
        {"policy": read("PolicyDocument", policy)},
    ),
    "AWS::Events::Rule": (
        "rule",
        read("Name"),
        {
            "state": read("State"),
            "pattern": read("EventPattern"),
            "schedule": read("ScheduleExpression"),
            "targets": TARGETS,
            **TAGS,
        },
    ),
    "AWS::Logs::LogGroup": ("log group", read("LogGroupName"), {"retention_days": read("RetentionInDays"), **TAGS}),
    "AWS::IAM::Role": (
        "role",
        read("RoleName"),
        {
            "principal": read("AssumeRolePolicyDocument", policy),
            "policies": each("Policies", unordered, name="PolicyName", statements=read("PolicyDocument", policy)),
            **TAGS,
        },
    ),
    "AWS::IAM::InstanceProfile": ("instance profile", read("InstanceProfileName"), {"roles": read("Roles")}),
    "AWS::Lambda::Function": (
        "function",
        read("FunctionName"),
        {
            "runtime": read("Runtime"),
            "architectures": read("Architectures"),
            "handler": read("Handler"),
            "role": read("Role"),
            "timeout_s": read("Timeout"),
            "memory_mb": read("MemorySize"),
            "environment": read("Environment.Variables", variables),
            "log group": read("LoggingConfig.LogGroup"),
            "log format": read("LoggingConfig.LogFormat", default="Text"),
            "recursive loop": read("RecursiveLoop"),
            **TAGS,
        },
    ),
    "AWS::Lambda::EventSourceMapping": (
        "mapping",
        lambda values: f"{last_of_arn(values['EventSourceArn'])} to {values['FunctionName']}",
        {
            "batch size": read("BatchSize"),
            "responses": read("FunctionResponseTypes"),
            "concurrency": read("ScalingConfig.MaximumConcurrency"),
            "pollers, least": read("ProvisionedPollerConfig.MinimumPollers"),
            "pollers, most": read("ProvisionedPollerConfig.MaximumPollers"),
            **TAGS,
        },
    ),
    "AWS::Lambda::Permission": (
        "permission",
        lambda values: f"{values['Principal']} for {values['FunctionName']}",
        {"action": read("Action"), "source": read("SourceArn")},
    ),
    "AWS::Lambda::EventInvokeConfig": (
        "invoke configuration",
        read("FunctionName"),
        {
            "qualifier": read("Qualifier"),
            "age_s": read("MaximumEventAgeInSeconds"),
            "retries": read("MaximumRetryAttempts"),
            "on failure": read("DestinationConfig.OnFailure.Destination"),
        },
    ),
    "AWS::ApiGatewayV2::Api": ("api", read("Name"), {"protocol": read("ProtocolType"), **TAGS}),
    "AWS::ApiGatewayV2::Integration": (
        "integration",
        lambda values: last_of_arn(values["IntegrationUri"]),
        {
            "api": read("ApiId"),
            "type": read("IntegrationType"),
            # A function is always invoked so.
            "method": read("IntegrationMethod", default="POST"),
            "function": read("IntegrationUri"),
            "payload format": read("PayloadFormatVersion"),
            "timeout_ms": read("TimeoutInMillis"),
        },
    ),
    "AWS::ApiGatewayV2::Route": (
        "route",
        read("RouteKey"),
        {"api": read("ApiId"), "authorization": read("AuthorizationType"), "target": read("Target")},
    ),
    "AWS::ApiGatewayV2::Stage": (
        "stage",
        read("StageName"),
        {
            "api": read("ApiId"),
            "deploys itself": read("AutoDeploy"),
            "requests_per_s": read("DefaultRouteSettings.ThrottlingRateLimit"),
            "burst": read("DefaultRouteSettings.ThrottlingBurstLimit"),
            "access log": read("AccessLogSettings.DestinationArn"),
            "access log format": read("AccessLogSettings.Format", parsed),
            **TAGS,
        },
    ),
    "AWS::EC2::VPC": (
        "network",
        read("CidrBlock"),
        {"dns hostnames": read("EnableDnsHostnames"), "dns support": read("EnableDnsSupport"), **TAGS},
    ),
    "AWS::EC2::InternetGateway": ("gateway", lambda values: "the network's", TAGS),
    "AWS::EC2::VPCGatewayAttachment": ("gateway", lambda values: "the network's", {"network": read("VpcId")}),
    "AWS::EC2::RouteTable": ("route table", lambda values: "the network's", {"network": read("VpcId"), **TAGS}),
    "AWS::EC2::Route": (
        "way out",
        read("DestinationCidrBlock"),
        {"table": read("RouteTableId"), "gateway": read("GatewayId")},
    ),
    "AWS::EC2::Subnet": (
        "subnet",
        read("CidrBlock"),
        {"network": read("VpcId"), "public addresses": read("MapPublicIpOnLaunch"), **TAGS},
    ),
    "AWS::EC2::SubnetRouteTableAssociation": (
        "association",
        None,
        {"subnet": read("SubnetId"), "table": read("RouteTableId")},
    ),
    "AWS::EC2::VPCEndpoint": (
        "endpoint",
        read("ServiceName"),
        {
            "network": read("VpcId"),
            "type": read("VpcEndpointType"),
            "tables": lambda values: at(values, "RouteTableIds")[0],
            **TAGS,
        },
    ),
    "AWS::EC2::SecurityGroup": (
        "security group",
        read("GroupName"),
        {
            "description": read("GroupDescription"),
            "in": each("SecurityGroupIngress", protocol="IpProtocol"),
            "out": each(
                "SecurityGroupEgress",
                protocol="IpProtocol",
                first_port="FromPort",
                last_port="ToPort",
                to="CidrIp",
                says="Description",
            ),
            **TAGS,
        },
    ),
    "AWS::EC2::LaunchTemplate": (
        "launch template",
        read("LaunchTemplateName"),
        {
            "metadata tokens": read("LaunchTemplateData.MetadataOptions.HttpTokens"),
            "metadata endpoint": read("LaunchTemplateData.MetadataOptions.HttpEndpoint"),
            "metadata hops": read("LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit"),
            "volumes": each(
                "LaunchTemplateData.BlockDeviceMappings",
                device="DeviceName",
                type="Ebs.VolumeType",
                size_gb="Ebs.VolumeSize",
                encrypted="Ebs.Encrypted",
                goes="Ebs.DeleteOnTermination",
            ),
            "user data": read("LaunchTemplateData.UserData", decoded),
        },
    ),
    "AWS::Batch::ComputeEnvironment": (
        "compute environment",
        read("ComputeEnvironmentName"),
        {
            "type": read("Type"),
            "state": read("State"),
            "update ends jobs": read("UpdatePolicy.TerminateJobsOnUpdate"),
            "update waits_min": read("UpdatePolicy.JobExecutionTimeoutMinutes"),
            "machines are": read("ComputeResources.Type"),
            "allocation": read("ComputeResources.AllocationStrategy"),
            "vcpus, least": read("ComputeResources.MinvCpus"),
            "vcpus, most": read("ComputeResources.MaxvCpus"),
            "machines": read("ComputeResources.InstanceTypes", sorted),
            "instance profile": read("ComputeResources.InstanceRole"),
            "security group": lambda values: at(values, "ComputeResources.SecurityGroupIds")[0],
            "images": each("ComputeResources.Ec2Configuration", type="ImageType"),
            "launch template": read("ComputeResources.LaunchTemplate.LaunchTemplateName"),
            "launch template version": read("ComputeResources.LaunchTemplate.Version"),
            "tags of machines": read("ComputeResources.Tags", tags),
            **TAGS,
        },
    ),
    "AWS::Batch::SchedulingPolicy": (
        "scheduling policy",
        read("Name"),
        {
            "decay_s": read("FairsharePolicy.ShareDecaySeconds"),
            "shares": read(
                "FairsharePolicy.ShareDistribution", lambda held: pairs(held, "ShareIdentifier", "WeightFactor")
            ),
            **TAGS,
        },
    ),
    "AWS::Batch::JobQueue": (
        "job queue",
        read("JobQueueName"),
        {
            "state": read("State"),
            "priority": read("Priority"),
            "policy": read("SchedulingPolicyArn"),
            "environments": each("ComputeEnvironmentOrder", order="Order", environment="ComputeEnvironment"),
            "limits": each(
                "JobStateTimeLimitActions", reason="Reason", state="State", action="Action", time_s="MaxTimeSeconds"
            ),
            **TAGS,
        },
    ),
    "AWS::Batch::JobDefinition": (
        "job definition",
        read("JobDefinitionName"),
        {
            "type": read("Type"),
            "platforms": read("PlatformCapabilities"),
            "tags tasks": read("PropagateTags"),
            "priority": read("SchedulingPriority"),
            "image": container("Image"),
            "command": container("Command"),
            "job role": container("JobRoleArn"),
            "execution role": container("ExecutionRoleArn"),
            "environment": read("ContainerProperties.Environment", pairs),
            "resources": read("ContainerProperties.ResourceRequirements", lambda held: pairs(held, "Type", "Value")),
            "mounts": container("MountPoints"),
            "volumes": container("Volumes"),
            "log": container("LogConfiguration"),
            "attempts": read("RetryStrategy.Attempts"),
            "exits": each(
                "RetryStrategy.EvaluateOnExit",
                action=read("Action", str.upper),
                status_reason="OnStatusReason",
                reason="OnReason",
                code="OnExitCode",
            ),
            "timeout_s": read("Timeout.AttemptDurationSeconds"),
            **TAGS,
        },
    ),
    "AWS::SNS::Topic": ("topic", read("TopicName"), {"key": read("KmsMasterKeyId"), **TAGS}),
    "AWS::SNS::TopicPolicy": (
        "topic",
        lambda values: last_of_arn(at(values, "Topics")[0]),
        {"policy": read("PolicyDocument", policy)},
    ),
    "AWS::SNS::Subscription": (
        "subscription",
        lambda values: f"{values['Endpoint']} to {last_of_arn(values['TopicArn'])}",
        {"protocol": read("Protocol")},
    ),
    "AWS::CloudWatch::Alarm": (
        "alarm",
        read("AlarmName"),
        {
            "description": read("AlarmDescription"),
            "comparison": read("ComparisonOperator"),
            "threshold": read("Threshold"),
            "periods": read("EvaluationPeriods"),
            "datapoints": read("DatapointsToAlarm"),
            "silence": read("TreatMissingData"),
            "alarm tells": read("AlarmActions"),
            "ok tells": read("OKActions"),
            "namespace": read("Namespace"),
            "metric": read("MetricName"),
            "statistic": read("Statistic"),
            "dimensions": read("Dimensions", pairs),
            "period_s": read("Period"),
            "metrics": metrics,
            **TAGS,
        },
    ),
    "AWS::CloudWatch::CompositeAlarm": (
        "alarm of alarms",
        read("AlarmName"),
        {
            "description": read("AlarmDescription"),
            "rule": read("AlarmRule", alarms_of),
            "alarm tells": read("AlarmActions"),
            "ok tells": read("OKActions"),
            **TAGS,
        },
    ),
    "AWS::CloudWatch::Dashboard": ("dashboard", read("DashboardName"), {"body": read("DashboardBody", parsed)}),
}


def says_nothing(_type, _place, _value):
    """Whatever a template says, the CDK was told to."""
    return False
